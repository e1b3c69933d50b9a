"""Recommends what to do with an account from its two scores: act against the risk, offer more, or leave it alone.

A sale is offered only to a satisfied account. Where it is not, the score stays and the offer is withheld, with why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.settings import Satisfied
from training.decisions.value import Floats, SnapshotColumns, read_column

Flags = npt.NDArray[np.bool_]
# Where it stands, and its words for the account in that row.
Objection = tuple[Flags, Callable[[np.intp], str]]

ACT, SELL, LEAVE_ALONE = "act", "sell", "leave_alone"
# What is read of a snapshot.
COLUMNS = ("open_urgent_tickets", "escalated_tickets_90d", "csat_90d", "paid_share_365d")


@dataclass(frozen=True)
class Recommendations:
    """Recommended actions for n accounts.

    Args:
        do: (n,) act, sell or leave_alone.
        withheld: (n,) whether a sale is likely and is not offered.
        why: (n,) in words.
    """

    do: npt.NDArray[np.object_]
    withheld: Flags
    why: npt.NDArray[np.object_]


def recommend(  # noqa: PLR0913  # each is a threshold of its own, by name
    frame: SnapshotColumns,
    churn: Floats,
    upsell: Floats,
    *,
    risky: float,
    promising: float,
    calm: float,
    satisfied: Satisfied,
) -> Recommendations:
    """Recommend an action for each account, and say why.

    A risky account is to be acted on, and a promising one to be sold to if nothing stands against it: a risk that is
    too high for a sale or not known, and what `satisfied` limits. What the frame lacks, such as CSAT without tickets,
    stands against nothing.

    Args:
        frame: n snapshots.
        churn: (n,) scores; NaN where not known.
        upsell: (n,) scores; NaN where not known.
        risky: The churn score from which risk is high.
        promising: The upsell score from which a sale is likely.
        calm: The churn score above which nothing is offered; of no effect above `risky`.
        satisfied: What else stands against a sale.
    """
    at_risk, is_likely = churn >= risky, upsell >= promising
    objections = _find_objections(frame, churn, at_risk, calm=calm, satisfied=satisfied)
    is_objected = np.any([hit for hit, _ in objections], axis=0)
    withheld, is_sold = is_likely & is_objected, is_likely & ~is_objected
    why = np.select(
        [at_risk, is_sold], ["the risk of leaving is high", _SATISFIED], _explain_leave_alone(churn, upsell)
    ).astype(object)
    for i in np.flatnonzero(withheld):
        why[i] = "a sale is likely, but is withheld: " + "; ".join(words(i) for hit, words in objections if hit[i])
    return Recommendations(np.select([at_risk, is_sold], [ACT, SELL], LEAVE_ALONE).astype(object), withheld, why)


_SATISFIED = "a sale is likely, the risk of leaving is not high, and nothing else stands against it"


def _explain_leave_alone(churn: Floats, upsell: Floats) -> npt.NDArray[np.object_]:
    """Explain why each account is left alone if neither of its scores is high."""
    risk = np.where(np.isnan(churn), "the risk of leaving is not known", "the risk of leaving is not high")
    sale = np.where(np.isnan(upsell), "whether a sale is likely is not known", "a sale is not likely")
    return np.array([f"{r}, and {s}" for r, s in zip(risk, sale, strict=True)], dtype=object)


def _find_objections(
    frame: SnapshotColumns, churn: Floats, at_risk: Flags, *, calm: float, satisfied: Satisfied
) -> tuple[Objection, ...]:
    """Find everything that speaks against a sale."""
    urgent, escalated, csat, paid = (read_column(frame, c) for c in COLUMNS)
    least = satisfied.least_csat
    return (
        (at_risk, lambda _: "the risk of leaving is high"),
        (~at_risk & (churn > calm), lambda i: f"the risk of leaving is {churn[i]:.1%}, above {calm:.1%}"),
        (np.isnan(churn), lambda _: "the risk of leaving is not known"),
        (
            urgent > satisfied.open_urgent,
            lambda i: _count(float(urgent[i]), "urgent ticket stands open", "urgent tickets stand open"),
        ),
        (
            escalated > satisfied.escalations,
            lambda i: _count(float(escalated[i]), "escalated ticket", "escalated tickets") + " in 90 days",
        ),
        (csat < (-np.inf if least is None else least), lambda i: f"CSAT of 90 days is {csat[i]:.1f}, below {least:g}"),
        (1 - paid > satisfied.unpaid, lambda i: f"{1 - paid[i]:.0%} of a year's purchases are unpaid"),
    )


def _count(number: float, one: str, many: str) -> str:
    return f"{number:.0f} {one if number == 1 else many}"
