"""Hold what was promised to accounts against what was kept, and what was sold on against what was offered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.sources.history import History
from features.state.account_tables import ACCOUNT_PROMISES
from features.state.database import Store
from features.state.tables import EPISODES
from monitoring.alerts.kinds import UPSELL

_SHOWN = 15
_COLUMNS = ["account_id", "made_at", "due", "by", "text", "kept_at"]


@dataclass(frozen=True)
class BrokenPromise:
    """A promise that was due and was not kept in time: by whom, what, until when, and when it was kept, if ever."""

    account_id: str
    by: str | None
    text: str | None
    due: str
    kept_at: str | None
    name: str | None = None


@dataclass(frozen=True)
class PromiseCount:
    """The promises of a period.

    Args:
        made: In it.
        due: In it.
        kept: Of those due, in time.
        late: Of those due, after it.
        broken: Of those due, not at all so far.
        top: Those late or broken, the longest overdue first.
    """

    made: int
    due: int
    kept: int
    late: int
    broken: int
    top: tuple[BrokenPromise, ...]


@dataclass(frozen=True)
class UpsellCount:
    """What was sold on in a period.

    Args:
        accounts: That bought more: rows of the kind expansion.
        amount: Money.
        offered: Alerts that an account may buy more, opened in the period.
        bought: Of the accounts of these, those that bought more in the period.
    """

    accounts: int
    amount: float
    offered: int
    bought: int


def count_promises(history: History, store: Store, since: datetime, until: datetime) -> PromiseCount | None:
    """Count the promises made and due in a period; None where nobody records any."""
    begin, end = to_micros(since), to_micros(until)
    frames = []
    if "promises" in history.tables:
        frames.append(history.query('SELECT account_id, made_at, due, "by", "text", kept_at FROM promises'))
    with store.reading() as connection:
        rows = connection.execute(sa.select(*(ACCOUNT_PROMISES.c[c] for c in _COLUMNS))).all()
    frames += [pd.DataFrame(rows, columns=_COLUMNS)] if rows else []
    if not frames:
        return None
    promises = pd.concat(frames, ignore_index=True)
    due = promises[(promises["due"] >= begin) & (promises["due"] < end)]
    is_kept = due["kept_at"] <= due["due"]
    is_late = due["kept_at"] > due["due"]
    missed = due[~is_kept].sort_values(["due", "account_id"], kind="stable")
    return PromiseCount(
        made=int(((promises["made_at"] >= begin) & (promises["made_at"] < end)).sum()),
        due=len(due),
        kept=int(is_kept.sum()),
        late=int(is_late.sum()),
        broken=int(due["kept_at"].isna().sum()),
        top=tuple(_build_promise(row) for row in missed.head(_SHOWN).to_dict("records")),
    )


def count_upsell(history: History, store: Store, since: datetime, until: datetime) -> UpsellCount | None:
    """Count what was sold on in a period; None where purchases don't say which of them are expansions."""
    if "purchases" not in history.tables:
        return None
    ends = pd.DataFrame({"since": [to_micros(since)], "until": [to_micros(until)]})
    if not history.query("SELECT count(*) AS n FROM purchases WHERE kind = 'expansion'")["n"].iloc[0]:
        return None
    sql = """
    SELECT account_id, sum(amount)::DOUBLE AS amount FROM purchases, ends
    WHERE kind = 'expansion' AND purchased_at >= ends.since AND purchased_at < ends.until GROUP BY account_id
    """
    bought = history.query(sql, ends=ends)
    e = EPISODES.c
    query = sa.select(e.account_id).where(e.kind == UPSELL, e.opened_as_of.between(to_micros(since), to_micros(until)))
    with store.reading() as connection:
        offered = list(connection.scalars(query))
    buyers = set(bought["account_id"])
    return UpsellCount(len(bought), float(bought["amount"].sum()), len(offered), len(buyers & set(offered)))


def _build_promise(row: Mapping[str, object]) -> BrokenPromise:
    def say_day(at: object) -> str | None:
        return None if pd.isna(at) else f"{from_micros(int(at)):%Y-%m-%d}"  # type: ignore[call-overload]  # µs

    by, text = (None if pd.isna(row[key]) else to_safe_line(str(row[key]), 200) for key in ("by", "text"))
    return BrokenPromise(str(row["account_id"]), by, text, say_day(row["due"]) or "", say_day(row["kept_at"]))
