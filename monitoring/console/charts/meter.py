"""Draw a share as a bar with the average marked: a list has one in each row, so it is no macro."""

from __future__ import annotations

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 88, 10


def draw_meter(share: float, sentence: str, average: float | None) -> Markup:
    """Draw a share of 0 to 1 as SVG; what is above the average has the colour of risk.

    Args:
        share: To draw.
        sentence: What the bar shows, for those who don't see it.
        average: To mark; None marks nothing.
    """
    tone = "risk" if average is not None and share > average else "good"
    mark = "" if average is None else f'<path class="average" d="M{_WIDTH * average:.1f} 0v{_HEIGHT}"/>'
    return Markup(  # noqa: S704  # numbers, and a sentence that is escaped
        f'<svg class="meter" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(sentence)}"><rect class="track" width="{_WIDTH}" height="{_HEIGHT}" rx="3"/>'
        f'<rect class="fill {tone}" width="{_WIDTH * share:.1f}" height="{_HEIGHT}" rx="3"/>{mark}</svg>'
    )
