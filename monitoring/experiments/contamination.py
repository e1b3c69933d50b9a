"""Find who was helped although a lot had decided otherwise: alerts on the arm without, and touches of both arms."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import DAY
from features.sources.history import History
from features.state.database import Store
from features.state.tables import EPISODES

# Touches in person, as the features of touches count them: a campaign goes to everybody.
_PERSONAL = "call|phone|visit|meet"


@dataclass(frozen=True)
class Contamination:
    """What reached both arms between the draw and the end of the outcome's days.

    Args:
        control: Families that were not to be alerted on.
        alerted: Of these, those alerted on all the same.
        touched: Of these, those called or visited; None where the company records no touches.
        touched_treated: Share of the treated families called or visited; None where there are none, or no records.
    """

    control: int
    alerted: int
    touched: int | None
    touched_treated: float | None

    @property
    def share(self) -> float:
        """Return the share of the arm without that was alerted on."""
        return self.alerted / self.control if self.control else 0.0


def find_contamination(store: Store, history: History, draws: pd.DataFrame, *, days: int) -> Contamination:
    """Find what reached the families of both arms in the days after their draw.

    Args:
        store: The state database.
        history: The company's.
        draws: unit, account_id, as_of (µs) and treated of each family.
        days: From the draw to the end of the outcome.
    """
    control = draws.loc[~draws["treated"]]
    families = read_families(history)
    touches = None
    if "touches" in history.tables:
        touches = history.query(
            f"SELECT account_id, touched_at AS at FROM touches WHERE regexp_matches(lower(kind), '{_PERSONAL}')"  # noqa: S608
        )
    e = EPISODES.c
    with store.reading() as connection:
        opened = connection.execute(sa.select(e.account_id, e.opened_as_of)).all()
    alerted = _find_reached(control, pd.DataFrame(opened, columns=["account_id", "at"]), families, days)
    touched, treated_share = None, None
    if touches is not None:
        reached = _find_reached(draws, touches, families, days)
        touched = int(control["unit"].isin(reached).sum())
        treated = draws.loc[draws["treated"], "unit"]
        treated_share = float(treated.isin(reached).mean()) if len(treated) else None
    return Contamination(len(control), len(alerted), touched, treated_share)


def read_families(history: History) -> dict[str, str]:
    """Read each account's topmost account; one without a parent is its own."""
    rows = history.query("SELECT account_id, parent_id FROM accounts")
    plain = rows.astype(object).where(rows.notna(), None).itertuples(index=False, name=None)
    parents = {str(account): parent for account, parent in plain}
    return {account: _climb(account, parents) for account in parents}


def _climb(account: str, parents: dict[str, str | None]) -> str:
    """Return the topmost account of a chain of parents, which may be broken or bite its tail."""
    seen = [account]
    while (parent := parents.get(seen[-1])) and parent in parents and parent not in seen:
        seen.append(parent)
    return seen[-1]


def _find_reached(draws: pd.DataFrame, events: pd.DataFrame, families: dict[str, str], days: int) -> set[str]:
    """Return the units with an event on an account of their family within the days after their draw."""
    if draws.empty or events.empty:
        return set()
    own = draws[["unit", "as_of"]].assign(family=[families.get(unit, unit) for unit in draws["unit"]])
    dated = pd.DataFrame(
        {"family": [families.get(a, a) for a in events["account_id"]], "at": events["at"].to_numpy(dtype="int64")}
    )
    both = own.merge(dated, on="family")
    within = (both["at"] > both["as_of"]) & (both["at"] < both["as_of"] + days * DAY)
    return set(both.loc[within, "unit"])
