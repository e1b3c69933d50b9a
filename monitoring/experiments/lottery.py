"""Let chance decide at the line where an owner's time ends: the tie-breaker design.

Owners can't take all accounts at risk. Those ranked far above the line are alerted on, those far below are not, and
among those within a band around it lots decide. As many are alerted on as without lots, and whoever is drawn is
compared with whoever is not.

Source: Owen and Varian, Optimizing the tie-breaker regression discontinuity design, Electronic Journal of Statistics
14 (2020), arXiv 1808.07563.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LotteryDraw:
    """What the lots decided for one owner.

    Args:
        order: Places of the candidates, in the order in which the owner's time goes to them.
        band: Places of those that lots decided on; () where nothing lies on one side of the line.
        probability: Of being alerted on, the same for all of the band.
    """

    order: tuple[int, ...]
    band: tuple[int, ...]
    probability: float


def draw_at_line(lots: Sequence[float | None], *, taken: int, band: int) -> LotteryDraw:
    """Put candidates around the capacity line in the order of their lots.

    Args:
        lots: Of one owner's candidates, the most valuable first; None for one whose rank alone decides. A lot is drawn
            once: one that has lost before would make the others' chances greater than a half.
        taken: So many fit into the owner's time, the first ones.
        band: Ranks on each side of the line that lots decide on.
    """
    above = [place for place in range(max(0, taken - band), taken) if lots[place] is not None]
    below = [place for place in range(taken, min(taken + band, len(lots))) if lots[place] is not None]
    # As many ranks above as below: a band that is all above would deny help without any to compare with.
    half = min(len(above), len(below))
    if half == 0:
        return LotteryDraw(tuple(range(len(lots))), (), 1.0)
    places = (*above[-half:], *below[:half])
    drawn = dict(zip(places, sorted(places, key=lambda place: (lots[place], place)), strict=True))
    return LotteryDraw(tuple(drawn.get(place, place) for place in range(len(lots))), places, 0.5)
