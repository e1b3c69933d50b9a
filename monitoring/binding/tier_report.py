"""Report tiers: how many accounts each has, who moved, and why one account has its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from rich.table import Table

from features.core.errors import GarrisonError
from features.settings import Settings
from features.settings.cli import table
from features.settings.tiers import TIER_NAMES
from features.state.database import Store
from serving.scoring import score_table
from serving.tiers import course, tier_store

_MOST = 20


@dataclass(frozen=True)
class TierReport:
    """The tiers of the newest run, and who moved since the one before.

    Args:
        as_of: Of the run; `before` of the one before, None without one.
        before: Of the run before.
        quarter: Whose cuts count.
        counts: Accounts by tier.
        moves: account_id, from, to; upward first.
        overrides: Those in force.
    """

    as_of: datetime
    before: datetime | None
    quarter: str
    counts: dict[str, int]
    moves: pd.DataFrame
    overrides: tuple[course.Override, ...]

    def lines(self) -> Iterator[str]:
        """Yield the report for people, line by line."""
        counted = ", ".join(f"{tier} {self.counts.get(tier, 0):,}" for tier in TIER_NAMES)
        yield f"Accounts by tier as of {self.as_of:%Y-%m-%d}, by the cuts of {self.quarter}: {counted}"
        if self.before is None:
            yield "There is no run before it to compare with."
        else:
            yield f"Moved since {self.before:%Y-%m-%d}: {len(self.moves):,}"
        for override in self.overrides:
            yield f"  {override.account_id} is {override.describe()}"

    def tabulate_moves(self) -> Table:
        """Return the moves as a table, at most twenty."""
        shown = table("account", "from", "to", title=f"the first {_MOST} moves" if len(self.moves) > _MOST else None)
        for row in self.moves.head(_MOST).itertuples():
            shown.add_row(row.account_id, row.earlier, row.tier)
        return shown

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "as_of": self.as_of.isoformat(),
            "before": self.before and self.before.isoformat(),
            "quarter": self.quarter,
            "counts": self.counts,
            "moves": self.moves.to_dict("records"),
            "overrides": [
                {"account_id": o.account_id, "tier": o.tier, "reason": o.reason, "by": o.by} for o in self.overrides
            ],
        }


def report_tiers(settings: Settings, store: Store) -> TierReport:
    """Report the tiers of the newest score table.

    Raises:
        GarrisonError: Nothing has been scored.
    """
    as_of, rows, before = _read_newest(settings)
    moves = rows[["account_id", "tier"]].merge(
        pd.DataFrame({"account_id": [], "earlier": []}, dtype=object)
        if before is None or before.tiers is None
        else before.tiers["tier"].rename("earlier").rename_axis("account_id").reset_index(),
        on="account_id",
    )
    moves = moves[moves["tier"].notna() & moves["earlier"].notna() & (moves["tier"] != moves["earlier"])]
    return TierReport(
        as_of,
        before.as_of if before else None,
        tier_store.name_quarter(as_of),
        {str(k): int(v) for k, v in rows["tier"].value_counts().items()},
        moves.sort_values(["tier", "account_id"]).reset_index(drop=True),
        tuple(tier_store.read_overrides(store, as_of).values()),
    )


def explain_account(settings: Settings, store: Store, account_id: str) -> str:
    """Explain one account's tier in the newest run, in a sentence.

    Raises:
        GarrisonError: Nothing has been scored, or this account has not.
    """
    as_of, rows, _ = _read_newest(settings)
    own = rows[rows["account_id"] == account_id]
    cuts = tier_store.read_cuts(store, tier_store.name_quarter(as_of))
    if own.empty or cuts is None:
        raise GarrisonError(f"the account {account_id} has no tier as of {as_of:%Y-%m-%d}", hint="Score again")
    override = tier_store.read_overrides(store, as_of).get(account_id)
    return course.explain_tier(own.iloc[0].to_dict(), cuts, settings.tiers, override)


def read_course(settings: Settings, account_id: str) -> list[tuple[datetime, str]]:
    """Return the runs at which an account's tier changed, oldest first, with its tier from there on."""
    seen: list[tuple[datetime, str]] = []
    for file in score_table.list_stored(settings):
        rows = pq.read_table(
            file, columns=["account_id", "tier"], partitioning=None, filters=[("account_id", "=", account_id)]
        )
        for tier in rows["tier"].to_pylist():
            if tier and (not seen or seen[-1][1] != tier):
                seen.append((score_table.parse_instant(file), tier))
    return seen


def _read_newest(settings: Settings) -> tuple[datetime, pd.DataFrame, score_table.PreviousScores | None]:
    newest = score_table.find_newest(settings)
    if newest is None:
        raise GarrisonError("nothing has been scored", hint="Run `python -m serving score` first")
    scores = score_table.ScoreTable.read(newest)
    if missing := [name for name in course.COLUMNS if name not in scores.table.column_names]:
        raise GarrisonError(
            f"the scores as of {scores.as_of:%Y-%m-%d} are of an earlier release",
            found=f"no {missing[0]}",
            hint="Score again: python -m serving score",
        )
    rows = scores.table.select(["account_id", *course.COLUMNS]).to_pandas()
    before = score_table.PreviousScores.load(score_table.scores_folder(settings), scores.as_of)
    return scores.as_of, rows, before
