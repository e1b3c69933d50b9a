"""Write the page of a replay: the answer first, then the curve, the figures by group, and every alert and departure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.core.html import render_template, write_page
from features.core.plot import DASHED, REFERENCE, SERIES, TEXT, Plot, draw_plot, mark_percent
from monitoring.alerts.kinds import KINDS
from monitoring.performance.causes import CAUSES
from monitoring.replay import tables
from monitoring.replay.load_curve import LoadCurve
from monitoring.replay.replay import Replay

_TEMPLATE = Path(__file__).parent / "templates" / "replay.html"
# Rows of the long lists; JSON has all.
_MOST = 500


def write_replay_page(replay: Replay, file: Path) -> Path:
    """Write the page; it needs no network, and names are escaped."""
    worth = dict(zip(replay.departed["account_id"], replay.departed["value"], strict=True))
    unannounced = sorted(replay.unannounced, key=lambda gone: (-worth.get(gone.account_id, 0.0), gone.account_id))
    counts = {cause: [g for g in unannounced if g.cause == cause] for cause in CAUSES}
    alerts = list(replay.list_alerts())
    text = render_template(
        _TEMPLATE,
        heading=f"{replay.settings.company.name}: what would the alerts have done?",
        replay=replay,
        figures=replay.figures,
        summary=tables,
        by_group={by: [g for g in replay.groups if g.by == by] for by in ("owner", "tier", "week")},
        titles={"owner": "By owner", "tier": "By tier", "week": "By week"},
        by_kind=[g for g in replay.groups if g.by == "kind"],
        causes=[
            (c, CAUSES[c], len(gone), sum(worth.get(g.account_id, 0.0) for g in gone)) for c, gone in counts.items()
        ],
        unannounced=[(gone, worth.get(gone.account_id, 0.0)) for gone in unannounced[:_MOST]],
        alerts=alerts[:_MOST],
        number_of_alerts=len(alerts),
        most=_MOST,
        kinds=KINDS,
        plot=draw_curve(replay.curve) if replay.curve else None,
    )
    return write_page(file, text)


def draw_curve(curve: LoadCurve) -> Plot:
    """Draw the share of the value that left which each load catches, with the chosen point and that of now."""

    def draw(axes: Any) -> None:
        loads = [p.alerts_a_week for p in curve.points]
        shares = [p.figures.share_caught or 0.0 for p in curve.points]
        axes.plot(loads, shares, color=SERIES, marker="o", markersize=3.5, linewidth=1.6)
        is_same = curve.chosen is curve.current
        marked = [(curve.chosen, "chosen, and now" if is_same else "chosen", 8, SERIES)]
        marked += [] if is_same or curve.current is None else [(curve.current, "now", -15, "none")]
        for point, words, above, fill in marked:
            at = (point.alerts_a_week, point.figures.share_caught or 0.0)
            is_right = at[0] > (0.6 if point is curve.current and not is_same else 0.3) * max(loads)
            axes.plot(*at, marker="o", markersize=8, color=SERIES, markerfacecolor=fill)
            place = {"xytext": (-6 if is_right else 8, above), "textcoords": "offset points", "color": TEXT}
            axes.annotate(f"{words}: {point.hours:g} h", at, ha="right" if is_right else "left", **place)
        axes.axhline(shares[-1] if shares else 0, color=REFERENCE, linestyle=DASHED, linewidth=1)
        axes.set_xlim(0, 1.05 * max([*loads, 0.1]))
        axes.set_ylim(0, min(1.08, max([*shares, 0.1]) * 1.25))
        axes.set_xlabel("alerts a week for one person" if curve.is_of_one else "alerts a week for each owner")
        axes.set_ylabel("value that left, told of before")
        mark_percent(axes.yaxis)

    return draw_plot("replay-load", "How much value does more of owners' time catch?", draw, (4.2, 3.0))
