"""Drawings as SVG: text stays text and colours are few, so that a page can set both in its own type and tokens."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Grey enough for text to be read on white and on black.
TEXT, GRID, SERIES, REFERENCE = "#6b7686", "#d8dee6", "#1f6fb8", "#98a4b3"
DASHED = (0, (2, 2))
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "text.color": TEXT,
}
_SIZE = (4.4, 3.3)  # inches


@dataclass(frozen=True)
class Plot:
    """A drawing; a notebook shows it.

    Args:
        name: Of its file, without a suffix.
        title: What it answers.
        svg: The element, without a background.
    """

    name: str
    title: str
    svg: str

    def __repr__(self) -> str:
        return f"Plot({self.name}: {self.title})"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, file: Path) -> Path:
        """Write it to a file, whose suffix is .svg."""
        file.write_text(self.svg, encoding="utf-8")
        return file


def draw_plot(name: str, title: str, draw: Callable[[Any], None], size: tuple[float, float] = _SIZE) -> Plot:
    """Draw a plot.

    Args:
        name: Of its file, without a suffix.
        title: What it answers.
        draw: Draws on matplotlib's Axes.
        size: Width and height in inches.
    """
    import matplotlib as mpl

    # Figure without pyplot: no display, no global state, nothing to close.
    from matplotlib.figure import Figure

    # The salt makes the same drawing the same text, and no two drawings of a page share an id.
    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
        written = io.BytesIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.getvalue().decode("utf-8")
    # The element alone: a page has one document type, and no addresses of others.
    element = text[text.index("<svg") :].replace("'DejaVu Sans', ", "").rstrip()
    before, _, rest = element.partition("<metadata>")
    return Plot(name, title, before + rest.partition("</metadata>")[2] if rest else before)


def mark_percent(*of: Any) -> None:
    """Mark axes of shares in percent."""
    from matplotlib.ticker import MaxNLocator

    for axis in of:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(lambda share, _: f"{share * 100:.3g} %")


def mark_months(axes: Any) -> None:
    """Mark the horizontal axis by few dates."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
