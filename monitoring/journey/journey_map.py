"""Build the journey and pain map: topics by stage with what they cost, by partner too, for commands and pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from features.core.progress import Progress, ignore
from features.core.timestamps import from_micros, to_micros
from features.definitions.feature import DAY
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.journey import tabs
from monitoring.journey.exposures import WEEK, Exposures, lay_out_exposures
from monitoring.journey.json_files import read_json, write_json_file
from monitoring.journey.past_scores import find_horizon, read_past_scores, read_values
from monitoring.journey.ticket_costs import cost_tickets, read_staff
from monitoring.journey.tickets import STAGES, read_tickets
from monitoring.journey.topic import NEW, Topic
from monitoring.journey.topic_costs import QUARTER_DAYS, TopicCost, measure_costs
from monitoring.journey.topic_decisions import find_pinned, find_survivors, read_decisions
from monitoring.journey.topic_effects import TopicEffect, estimate_effects
from monitoring.journey.topic_finding import FoundTopics, find_topics
from monitoring.journey.topics import locate_journey
from training.models.dataset import find_data_until

_EXAMPLES, _LONGEST, _WEEKS = 5, 400, 26
NO_SCORES = "What topics cost in accounts needs scores from before the tickets: train, backtest or score first."
NO_VALUES = "Money needs accounts' values: they come with the first scores that are stored."


def build_map(  # noqa: PLR0913  # all but the first three named
    settings: Settings,
    history: History,
    store: Store,
    *,
    as_of: datetime | None = None,
    is_new_only: bool = False,
    progress: Progress = ignore,
) -> dict[str, Any]:
    """Build topics and map, and write them for pages; a rebuild keeps ids and what people decided.

    Args:
        settings: The company's.
        history: Of the company.
        store: Its state database.
        as_of: The instant to look from; by default the data's end.
        is_new_only: Whether tickets of the build before keep their topics, and new ones join the nearest.
        progress: Called as it goes on.

    Raises:
        GarrisonError: There are no tickets, or vectors can't be had.
    """
    until = find_data_until(history, settings, as_of)
    progress("tickets")
    tickets = read_tickets(history, settings, until)
    decisions = read_decisions(store)
    file = locate_journey(settings) / "ticket_topics.parquet"
    before = pd.read_parquet(file) if file.exists() else pd.DataFrame({"ticket_id": [], "topic_id": []})
    pinned = find_pinned(decisions)
    found = find_topics(settings, tickets, before=before, pinned=pinned, is_new_only=is_new_only, progress=progress)
    assigned = tickets[["ticket_id"]].assign(topic_id=found.topic_ids.astype(str), similarity=found.similarity)
    survivors = find_survivors(decisions)
    merged = np.array([survivors.get(topic, topic) for topic in found.topic_ids], dtype=object)
    merged[merged == NEW] = None
    tickets["topic_id"] = merged
    tickets = cost_tickets(settings, tickets, read_staff(history)).frame
    progress("costs of topics")
    values, scores = read_values(settings, store), read_past_scores(settings, store)
    rows = lay_out_exposures(history, settings, tickets, scores=scores, values=values, data_until=until)
    effects = estimate_effects(rows, false_share=settings.journey.false_share) if rows is not None else []
    costs = measure_costs(tickets, {e.topic_id: e for e in effects}, values, until=to_micros(until))
    topics = _describe_topics(settings, tickets, found, pinned)
    partners = _divide_by_partner(history, tickets, {e.topic_id: e for e in effects}, values, to_micros(until))
    plain = _write_down(settings, until, tickets, found, costs, rows, partners)
    earlier = read_map(settings) if is_new_only else None
    plain["found_at"] = (earlier or {}).get("found_at") or until.isoformat()
    plain["notes"] = [n for n in (found.note, "" if len(scores) else NO_SCORES, "" if len(values) else NO_VALUES) if n]
    folder = locate_journey(settings)
    folder.mkdir(parents=True, exist_ok=True)
    assigned.to_parquet(file, index=False)
    write_json_file(folder / "topics.json", {"topics": [_to_plain(topic) for topic in topics]})
    write_json_file(folder / "map.json", plain)
    return plain


def read_map(settings: Settings) -> dict[str, Any] | None:
    """Read the map of the last build; None before the first."""
    return read_json(locate_journey(settings) / "map.json")


def _describe_topics(
    settings: Settings, tickets: pd.DataFrame, found: FoundTopics, pinned: Mapping[str, Any]
) -> list[Topic]:
    """Return each topic as found, merged ones still apart: decisions are applied as topics are read."""
    raw = pd.Series(found.topic_ids, tickets.index)
    flags = tabs.flag_tickets(tickets, found.texts, low_csat=settings.journey.low_csat)
    chosen = tabs.choose_tabs(flags, raw)
    tags = tickets["topic"].astype(object)
    described = []
    for topic, rows in raw.groupby(raw):
        if topic == NEW:
            continue
        names, common = dict(found.names.get(topic, {})), tags[rows.index].mode()
        tag = str(common.iloc[0]) if len(common) else ""
        team = _find_team(settings, tag, topic, names)
        described.append(Topic(topic, names, chosen[topic], team, topic in pinned, len(rows), {"tag": tag}))
    return sorted(described, key=lambda one: (-one.tickets, one.topic_id))


def _find_team(settings: Settings, tag: str, topic: str, names: Mapping[str, str]) -> str | None:
    """Return the team that owns a topic: by its id, one of its names, its tag; else that of the service."""
    teams = {key.lower(): team for key, team in settings.journey.teams.items()}
    keys = [topic, *names.values(), tag, "*"]
    owner = next((teams[key.lower()] for key in keys if key and key.lower() in teams), None)
    return owner or settings.binding.teams.get("service")


def _divide_by_partner(
    history: History, tickets: pd.DataFrame, effects: Mapping[str, TopicEffect], values: pd.Series, until: int
) -> dict[str, Any]:
    """Return by partner its accounts, and what topics cost at them; {} where accounts come through nobody."""
    partner = read_partners(history)
    if partner.empty:
        return {}
    rows = tickets.assign(partner=tickets["account_id"].map(partner))
    divided = {}
    for name, some in rows[rows["partner"].notna()].groupby("partner"):
        costs = measure_costs(some, effects, values, until=until)
        accounts = int((partner == name).sum())
        tickets_now = sum(cost.tickets for cost in costs)
        divided[str(name)] = {
            "accounts": accounts,
            "tickets": tickets_now,
            # Of the topics that stand out: where nobody leaves more often nothing is lost.
            "lost": sum(c.lost.amount for c in costs if c.lost and c.is_costly) if any(c.lost for c in costs) else None,
            "topics": [
                {"topic_id": c.topic_id, "tickets": c.tickets, "accounts": c.accounts}
                | {"lost": c.lost.amount if c.lost else None, "tickets_before": c.tickets_before}
                for c in costs[:10]
            ],
        }
    return divided


def read_partners(history: History) -> pd.Series:
    """Read the partner that each account comes through, by account id; empty where none is known."""
    columns = set(history.query("SELECT column_name FROM (DESCRIBE accounts)")["column_name"])
    if "partner_id" not in columns:
        return pd.Series(dtype=object)
    rows = history.query("SELECT account_id, partner_id FROM accounts WHERE partner_id IS NOT NULL")
    return rows.set_index("account_id")["partner_id"].astype(object)


def _write_down(  # noqa: PLR0913, PLR0917  # all that a map shows
    settings: Settings,
    until: datetime,
    tickets: pd.DataFrame,
    found: FoundTopics,
    costs: list[TopicCost],
    rows: Exposures | None,
    partners: Mapping[str, Any],
) -> dict[str, Any]:
    at = to_micros(until)
    quarter = tickets[tickets["opened_at"] >= at - QUARTER_DAYS * DAY]
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "as_of": until.isoformat(),
        "since": from_micros(at - QUARTER_DAYS * DAY).isoformat(),
        "source": found.source,
        "currency": settings.company.currency,
        "horizon": find_horizon(settings),
        "value_days": settings.churn.value_days,
        "stages": [stage for stage in STAGES if (quarter["stage"] == stage).any()],
        "tickets": len(tickets),
        "quarter": len(quarter),
        "untold": int(quarter["topic_id"].isna().sum()),
        "bad_rule": tabs.RULE,
        "effects": None
        if rows is None
        else {
            "rows": round(float(rows.weight.sum())),
            "accounts": len(np.unique(rows.account)),
            "since": rows.since.isoformat(),
            "until": rows.until.isoformat(),
        },
        "topics": [_show_topic(tickets, found, cost, at) for cost in costs],
        "partners": partners,
    }


def _show_topic(tickets: pd.DataFrame, found: FoundTopics, cost: TopicCost, until: int) -> dict[str, Any]:
    """Return a topic's cost with its course by week, and the tickets most like it: their texts are redacted."""
    mine = np.flatnonzero(tickets["topic_id"].to_numpy() == cost.topic_id)
    weeks = ((until - 1 - tickets["opened_at"].to_numpy()[mine]) // WEEK).astype(int)
    course = np.bincount(weeks[weeks < _WEEKS], minlength=_WEEKS)[::-1]
    order = mine[np.argsort(-found.similarity[mine], kind="stable")]
    examples, seen = list[dict[str, Any]](), set[str]()
    shown = order[:200]
    said = zip(shown, tickets["subject"].iloc[shown], tickets["body"].iloc[shown], found.cores.iloc[shown], strict=True)
    for i, subject, body, core in said:
        text = " ".join(part for part in (subject, body) if isinstance(part, str))
        if text and core not in seen:
            seen.add(core)
            row = tickets.iloc[i]
            examples.append(
                {"ticket_id": row["ticket_id"], "account_id": row["account_id"], "text": text[:_LONGEST]}
                | {"opened_at": int(row["opened_at"]), "stage": row["stage"]}
            )
            if len(examples) == _EXAMPLES:
                break
    recent = tickets.iloc[mine[tickets["opened_at"].to_numpy()[mine] >= until - QUARTER_DAYS * DAY]]
    accounts = recent["account_id"].value_counts()
    return cost.as_dict() | {
        "course": course.tolist(),
        "examples": examples,
        "members": tickets["ticket_id"].to_numpy()[shown].tolist(),
        "hit": [{"account_id": account, "tickets": int(n)} for account, n in accounts.head(10).items()],
    }


def _to_plain(topic: Topic) -> dict[str, Any]:
    return {
        "topic_id": topic.topic_id,
        "names": dict(topic.names),
        "tab": topic.tab,
        "team": topic.team,
        "is_pinned": topic.is_pinned,
        "tickets": topic.tickets,
        "facts": dict(topic.facts),
    }
