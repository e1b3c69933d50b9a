"""Read what alerts need of accounts beside their scores: features, tiers, promises, and who has left for certain."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd
import sqlalchemy as sa

from features.core.language import Phrase
from features.core.local_formats import Day
from features.core.timestamps import DAY, from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.account_tables import ACCOUNT_PROMISES
from features.state.database import Store
from monitoring.alerts import kinds
from serving.scoring import score_table, snapshot_store
from serving.scoring.snapshot_store import StoredSnapshot
from training.decisions import recommendation

# Features that conditions are found in.
WANTED = (
    "usage_trend_30d",
    "usage_against_usual_30d",
    "usage_events_90d",
    "urgent_tickets_90d",
    "days_to_renewal",
    "term_days",
    "days_since_touch",
    "tenure_days",
    *recommendation.COLUMNS,
)


@dataclass(frozen=True)
class Promise:
    """The promise to an account that is due first and not kept.

    Args:
        text: What was promised; None where not recorded.
        by: Who promised; None where not recorded.
        due: Until when.
        days_left: Days until then; below 0 where it is overdue.
    """

    text: str | None
    by: str | None
    due: datetime
    days_left: float

    def describe(self) -> Phrase:
        """Return what is due and when, in a sentence."""
        what: Phrase = Phrase("“{text}”", {"text": self.text}) if self.text else Phrase("a promise")
        if self.by:
            what = Phrase("{promise}, promised by {person},", {"promise": what, "person": self.by})
        state = "{promise} was due on {day}" if self.days_left < 0 else "{promise} is due on {day}"
        return Phrase(state, {"promise": what, "day": Day(self.due)})


@dataclass(frozen=True)
class AccountFacts:
    """What is known of the accounts at one instant.

    Args:
        frame: `WANTED` as far as the company's tables give them; by account.
        tiers: A to E, by account.
        promises: Those not kept, by account; None where the company records none.
    """

    frame: pd.DataFrame = field(default_factory=partial(pd.DataFrame, index=pd.Index([], dtype="str")))
    tiers: Mapping[str, str] = field(default_factory=dict)
    promises: Mapping[str, Promise] | None = None


@dataclass(frozen=True)
class Departure:
    """Why an account that is missing is gone for certain: `left` or `merged`, and how that is known."""

    outcome: str
    reason: str


def read_facts(settings: Settings, history: History, as_of: datetime, store: Store | None = None) -> AccountFacts:
    """Read the facts of all accounts as of a scored instant.

    Args:
        settings: The company's.
        history: Its history.
        as_of: Of the scores; their stored snapshot is read, or else built anew.
        store: The state database, which holds the promises that people recorded; None for those of the table alone.

    Raises:
        GarrisonError: The stored snapshot can't be read.
    """
    file = snapshot_store.find_stored(settings, as_of)
    snapshot = StoredSnapshot.read(file, WANTED) if file else StoredSnapshot.build(settings, history, as_of)
    columns = [c for c in WANTED if c in snapshot.frame]
    frame = snapshot.frame.set_index("account_id")[columns].astype("float64")
    frame.index = frame.index.astype(object)
    tiers = score_table.read_tiers(settings, as_of)
    by_account = {} if tiers is None else {str(a): str(t) for a, t in tiers.dropna().items()}
    return AccountFacts(frame, by_account, _read_promises(history, as_of, store))


def _read_promises(history: History, as_of: datetime, store: Store | None) -> dict[str, Promise] | None:
    """Return each account's first promise that is known at `as_of` and not kept by then; None where none ever was."""
    at, rows = to_micros(as_of), list[tuple[Any, ...]]()
    recorded = _read_recorded(store, at) if store else None
    if "promises" in history.tables:
        sql = f"""
            SELECT account_id, due, made_at, "text", "by" FROM promises
            WHERE made_at < {at} AND known_at <= {at} AND (kept_at IS NULL OR kept_at >= {at})
        """  # noqa: S608  # the contract's own names
        found = history.query(sql)
        rows += found.astype(object).where(found.notna(), None).itertuples(index=False, name=None)
    elif recorded is None:
        return None
    first: dict[str, Promise] = {}
    for account, due, _, text, by in sorted([*rows, *(recorded or ())], key=lambda row: (*row[:3], row[3] or "")):
        promise = Promise(text, by, from_micros(int(due)), (int(due) - at) / DAY)
        first.setdefault(str(account), promise)
    return first


def _read_recorded(store: Store, at: int) -> list[tuple[Any, ...]] | None:
    """Read the promises that people recorded and that are not kept at an instant (µs); None where none ever was."""
    c = ACCOUNT_PROMISES.c
    is_open = (c.made_at < at) & (c.kept_at.is_(None) | (c.kept_at >= at))
    query = sa.select(c.account_id, c.due, c.made_at, c.text, c.by)
    with store.reading() as connection:
        if connection.scalar(sa.select(c.id).limit(1)) is None:
            return None
        return [tuple(row) for row in connection.execute(query.where(is_open))]


def find_departures(history: History, accounts: Collection[str], as_of: datetime) -> dict[str, Departure]:
    """Find which of some accounts without a score are gone for certain, by what the tables themselves say.

    An account is merged if its record says so, and has left if its lifetimes have all ended, or the last of its terms.
    One of which nothing is said is left out: it is missing, and may be back tomorrow.
    """
    wanted = pd.DataFrame({"account_id": sorted(set(accounts))}, dtype="str")
    if not len(wanted):
        return {}
    at, own = to_micros(as_of), "account_id IN (SELECT account_id FROM wanted)"
    gone: dict[str, Departure] = {}
    ends = {
        "purchases": ("term_ends_at", "its last term ended on"),
        "lifetimes": ("ended_at", "its record says that it left on"),
    }
    for table, (column, words) in ends.items():
        if table in history.tables:
            sql = f"""SELECT account_id, max({column}) AS ended FROM {table} WHERE {own} GROUP BY account_id
                HAVING max({column}) < {at} AND bool_and({column} IS NOT NULL OR '{table}' = 'purchases')"""  # noqa: S608
            for account, ended in history.query(sql, wanted=wanted).itertuples(index=False):
                gone[account] = Departure(kinds.LEFT, f"{words} {from_micros(int(ended)):%-d %B %Y}")
    sql = f"SELECT account_id, merged_into FROM accounts WHERE {own} AND merged_into IS NOT NULL AND merged_at <= {at}"  # noqa: S608
    for account, survivor in history.query(sql, wanted=wanted).itertuples(index=False):
        gone[account] = Departure(kinds.MERGED, f"the account was merged into {survivor}")
    return gone
