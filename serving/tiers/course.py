"""Carry each account's tier from run to run: it moves after several runs beyond a margin, or by a person's override."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.core.timestamps import from_micros
from features.settings.tiers import SIDES, TIER_NAMES, Tiers
from training.decisions.tier_cuts import Cuts

COLUMNS = ("tier", "tier_worth", "tier_runs_beyond", *(f"rank_{side}" for side in SIDES))
_NAMES = {"return_on_effort": "revenue for the effort"}


@dataclass(frozen=True)
class Override:
    """A tier that a person set.

    Args:
        account_id: Of the account.
        tier: A to E.
        reason: Why.
        by: Who set it.
        until: The `as_of` (µs) from which it no longer counts; None where it has no end.
    """

    account_id: str
    tier: str
    reason: str
    by: str
    until: int | None

    def describe(self) -> str:
        """Return the override in words."""
        until = "" if self.until is None else f" until {from_micros(self.until).date()}"
        return f"set to {self.tier}{until} by {self.by}: {self.reason}"


@dataclass(frozen=True)
class TierTable:
    """Each account's tier at one `as_of`, and what it follows from.

    Args:
        table: account_id, then `COLUMNS`: the tier (missing where no side of the account is known), its worth (0 to 1),
            in how many runs it has lain beyond a cut by the margin (below 0 for downward), and a rank a side.
        cuts: Of the quarter.
        left_out: Side to why no account was ranked in it.
        overridden: Accounts whose tier a person set.
    """

    table: pd.DataFrame
    cuts: Cuts
    left_out: Mapping[str, str]
    overridden: Mapping[str, Override]

    def lines(self) -> Iterator[str]:
        """Yield the counts for people, line by line."""
        counts = self.table["tier"].value_counts()
        yield f"Accounts by tier, cuts of {self.cuts.quarter}: " + ", ".join(
            f"{tier} {counts.get(tier, 0):,}" for tier in TIER_NAMES
        )
        for side, why in self.left_out.items():
            yield f"  without {_NAMES.get(side, side)}: {why}"


def assign_tiers(  # noqa: PLR0913  # what the tiers of a run follow from
    account_ids: Sequence[str],
    sides: pd.DataFrame,
    *,
    cuts: Cuts,
    settings: Tiers,
    before: pd.DataFrame | None = None,
    overrides: Mapping[str, Override] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> TierTable:
    """Assign each account its tier.

    An account that had a tier keeps it until its worth has lain beyond one of the tier's cuts, by the margin, in
    `settings.runs` runs one after the other and always in the same direction. One that is new has the tier that the
    cuts give.

    Args:
        account_ids: Of n accounts.
        sides: (n, sides), as `tier_sides.measure_sides` measures them.
        cuts: Of the quarter.
        settings: Weights, margin and runs.
        before: The run before, by account id: `tier` and `tier_runs_beyond`; None without one.
        overrides: Those in force, by account.
        left_out: As `tier_sides.measure_sides` gives it.
    """
    ranks = cuts.rank(sides)
    worth = cuts.compute_worth(ranks)
    by_cuts, index = cuts.find_tier(worth), pd.Index(account_ids)
    tier, runs = by_cuts.copy(), pd.Series(0, index=worth.index, dtype="int64")
    if before is not None:
        earlier = before.reindex(index)
        held = pd.Series(earlier["tier"].to_numpy(), index=worth.index, dtype=object)
        counted = pd.Series(earlier["tier_runs_beyond"].fillna(0).to_numpy(), index=worth.index).astype("int64")
        direction = _find_direction(cuts, held, worth, settings.margin)
        runs = pd.Series(np.where(np.sign(counted) == direction, counted + direction, direction), index=worth.index)
        stays = held.notna() & worth.notna() & (runs.abs() < settings.runs)
        tier = tier.mask(stays, held)
        runs = runs.where(stays, 0)
    overridden = {account: o for account, o in (overrides or {}).items() if account in index}
    for account, override in overridden.items():
        tier.iloc[index.get_loc(account)] = override.tier
    columns = {"account_id": [*account_ids], "tier": tier, "tier_worth": worth, "tier_runs_beyond": runs}
    table = pd.DataFrame(columns | {f"rank_{side}": ranks.get(side, np.nan) for side in SIDES})
    return TierTable(table.reset_index(drop=True), cuts, left_out or {}, overridden)


def _find_direction(cuts: Cuts, tier: pd.Series, worth: pd.Series, margin: float) -> np.ndarray:
    """Return 1 where the worth lies above the tier by the margin, -1 below it, and 0 between."""
    bounds = {name: cuts.get_bounds(name) for name in TIER_NAMES}
    least = tier.map({name: low for name, (low, _) in bounds.items()}).astype(float).to_numpy()
    below = tier.map({name: high for name, (_, high) in bounds.items()}).astype(float).to_numpy()
    value = worth.to_numpy()
    return np.where(value >= below + margin, 1, np.where(value < least - margin, -1, 0))


def explain_tier(row: Mapping[str, object], cuts: Cuts, settings: Tiers, override: Override | None = None) -> str:
    """Explain one account's tier in a sentence whose numbers lead to it.

    Args:
        row: Of `TierTable.table`.
        cuts: Of its quarter.
        settings: Margin and runs.
        override: The account's, where a person set its tier.
    """
    ranks = {side: float(str(row[f"rank_{side}"])) for side in SIDES if not pd.isna(row[f"rank_{side}"])}
    if not ranks:
        return f"Tier {override.tier}: {override.describe()}." if override else "No tier: nothing is known of it."
    parts = ", ".join(
        f"{_NAMES.get(side, side)} {rank:.2f}" + (f" (counts {w:g})" if (w := cuts.weights[side]) != 1 else "")
        for side, rank in ranks.items()
    )
    worth, tier = float(str(row["tier_worth"])), str(row["tier"])
    by_cuts = str(cuts.find_tier(pd.Series([worth])).iloc[0])
    low, high = cuts.get_bounds(by_cuts)
    span = f"from {low:.2f}" + (f" to {high:.2f}" if high < np.inf else "")
    sentence = f"worth {worth:.2f}, the mean of {parts}; {by_cuts} is {span} in {cuts.quarter}"
    if override:
        return f"Tier {tier}, {override.describe()}. By the cuts it is {by_cuts}: {sentence}."
    if tier == by_cuts:
        return f"Tier {tier}: {sentence}."
    moves = f"it moves after {settings.runs} runs in a row more than {settings.margin:.2f} beyond the cut"
    return f"Tier {tier} still, {by_cuts} by its {sentence}; {moves}, so far {abs(int(str(row['tier_runs_beyond'])))}."
