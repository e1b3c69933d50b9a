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


def draw_at_line(lots: Sequence[float], *, taken: int, band: int) -> LotteryDraw:
    """Put candidates around the capacity line in the order of their lots.

    Args:
        lots: Of one owner's candidates, the most valuable first.
        taken: So many fit into the owner's time, the first ones.
        band: Ranks on each side of the line that lots decide on.
    """
    total = len(lots)
    # As many ranks above as below: a band that is all above would deny help without any to compare with.
    half = min(band, taken, total - taken)
    if half <= 0:
        return LotteryDraw(tuple(range(total)), (), 1.0)
    places = range(taken - half, taken + half)
    drawn = sorted(places, key=lambda place: (lots[place], place))
    return LotteryDraw((*range(taken - half), *drawn, *range(taken + half, total)), tuple(places), 0.5)
