"""Put each topic under one of four tabs: doubts before buying, friction in use, complaints, wishes."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from monitoring.journey.tickets import BEFORE
from monitoring.journey.topic import Tab

# The rule as people read it.
RULE = (
    "A wish: most of its tickets ask for something that is not there. A doubt: most come before the first purchase "
    "or ask for a quote, a trial or terms. A complaint: tickets that are urgent, escalated, rated low or angry are "
    "half as many again as usual. All else is friction in use. People may move a topic to another tab."
)
_WISHES = re.compile(
    r"\bwish|feature request|would be (?:great|nice|helpful|good)|suggest|\bidea\b|could you (?:please )?add|please add"
    r"|would love|would like to (?:see|have)|looking forward to|希望|建议|要是|能不能增加|能否增加"
    r"|增加.{0,6}功能|想要|期待"
)
_DOUBTS = re.compile(
    r"\bquote\b|\btrial\b|before (?:we|i) (?:buy|sign|decide)|evaluat\w+|demo\b|compare\w* (?:to|with)|proof of concept"
    r"|报价|试用|购买前|签约前|演示|评估"
)
_ANGER = re.compile(
    r"unacceptable|not acceptable|disappoint\w+|complain\w*|refund|fed up|third time|still (?:no|not|waiting)"
    r"|ridiculous|cancel\w*|angry|worst|投诉|不满|退款|失望|无法接受|太差|第三次|还没有?人|取消合同|生气|忍"
)
_WISH_TAGS = re.compile(r"idea|wish|feature.?request|suggestion|建议|需求")
_DOUBT_TAGS = re.compile(r"pre.?sales|sales|quote|trial|售前")
_COMPLAINT_TAGS = re.compile(r"complaint|escalation|投诉")
_MOST, _HALF_MORE, _LEAST = 0.5, 1.5, 0.2


def flag_tickets(tickets: pd.DataFrame, texts: pd.Series, *, low_csat: float) -> pd.DataFrame:
    """Return what the rule looks at, of each ticket: wish, doubt, bad (0 or 1), and tags that say it outright.

    Args:
        tickets: topic (the tag), stage, priority, csat, escalated.
        texts: Cleaned, on the same index.
        low_csat: Satisfaction at or below which a ticket is bad.
    """
    tags = tickets["topic"].fillna("").astype(str).str.lower()
    said = texts.str.contains
    is_bad = (
        tickets["priority"].eq("urgent")
        | tickets["escalated"].astype("boolean").fillna(value=False)
        | tickets["csat"].le(low_csat)
        | said(_ANGER)
        | tags.str.contains(_COMPLAINT_TAGS)
    )
    return pd.DataFrame(
        {
            "wish": said(_WISHES) | tags.str.contains(_WISH_TAGS),
            "doubt": tickets["stage"].eq(BEFORE) | said(_DOUBTS) | tags.str.contains(_DOUBT_TAGS),
            "bad": is_bad.astype(bool),
        },
        index=tickets.index,
    )


def choose_tabs(flags: pd.DataFrame, topics: pd.Series) -> dict[str, Tab]:
    """Return the tab of each topic by the rule.

    Args:
        flags: As `flag_tickets` returns them.
        topics: The topic of each ticket, on the same index.
    """
    usual = float(flags["bad"].mean()) if len(flags) else 0.0
    shares = flags.groupby(topics.to_numpy()).mean()
    tabs: dict[str, Tab] = {}
    for topic, wish, doubt, bad in shares[["wish", "doubt", "bad"]].itertuples():
        if wish > _MOST:
            tabs[topic] = "wishes"
        elif doubt > _MOST:
            tabs[topic] = "doubts"
        elif bad >= max(_LEAST, _HALF_MORE * usual):
            tabs[topic] = "complaints"
        else:
            tabs[topic] = "friction"
    return tabs


def count_bad(flags: pd.DataFrame) -> int:
    """Return how many tickets are bad."""
    return int(np.count_nonzero(flags["bad"]))
