"""Define the features that need other accounts' rows: the rank among peers, and the state of the parent.

Only snapshots of the whole company have them, for reports and segments. Models don't learn from them: a posted account
comes without its peers, and its score must not depend on who else is scored.
"""

from __future__ import annotations

from dataclasses import replace

from features.catalog import purchases, service, terms, tickets, usage, usage_trends
from features.core.language import Phrase
from features.definitions.feature import Feature

_BY_NAME = {f.name: f for file in (usage, usage_trends, tickets, service, purchases, terms) for f in file.FEATURES}
_RANKED = (
    "usage_events_30d",
    "users_30d",
    "usage_trend_30d",
    "tickets_90d",
    "first_response_hours_90d",
    "resolution_hours_90d",
    "csat_90d",
    "spend_365d",
    "recurring_revenue_year",
)
_OF_PARENT = ("usage_trend_30d", "tickets_90d", "spend_365d", "days_to_renewal")


def _create_rank(base: Feature) -> Feature:
    meaning = Phrase("Share of the account's peers that have less of: {sentence}", {"sentence": base.meaning})
    label = Phrase(base.name.replace("_", " "))
    return replace(
        base,
        name=f"rank_{base.name}",
        sentence=str(meaning),
        meaning=meaning,
        unit="share of peers",
        missing=f"{base.missing}, or no peers",
        family=f"{base.family} among peers",
        direction=0,
        wording=lambda value: Phrase("{label}: above {value:.0%} of its peers", {"label": label, "value": value}),
        number=None,
        scope="peers",
        base=base.name,
    )


def _create_parent_feature(base: Feature) -> Feature:
    meaning = Phrase("The same of the parent account: {sentence}", {"sentence": base.meaning})
    return replace(
        base,
        name=f"parent_{base.name}",
        sentence=str(meaning),
        meaning=meaning,
        missing=f"no parent; or of the parent: {base.missing}",
        family=f"parent's {base.family}",
        direction=0,
        play=None,
        wording=lambda value: Phrase("of the parent account: {words}", {"words": base.wording(value)}),
        number=None,
        scope="parent",
        base=base.name,
    )


FEATURES = (
    *(_create_rank(_BY_NAME[name]) for name in _RANKED),
    *(_create_parent_feature(_BY_NAME[name]) for name in _OF_PARENT),
)
