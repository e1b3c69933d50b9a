"""Show a replay in the terminal: what came true, by owner, tier and week, who left unannounced, and the load curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.table import Table

from features.core.safe_line import to_safe_line
from features.settings.cli import table
from monitoring.alerts.kinds import KINDS
from monitoring.performance.causes import CAUSES
from monitoring.replay.figures import ReplayFigures
from monitoring.replay.load_curve import LoadCurve
from monitoring.replay.replay import Replay
from monitoring.replay.sent_alerts import NOBODY

_TITLES = {"owner": "By owner", "tier": "By tier", "week": "By week, from its Monday"}
_NUMBERS = ("alerts", "right", "of those judged", "left", "told", "days before", "value caught", "value missed")
# Owners and departures that the terminal shows; page and JSON have all.
_SHOWN = 12


def format_summary(replay: Replay) -> Iterator[str]:
    """Yield the answer in sentences."""
    figures, period = replay.figures, replay.period
    kinds = Counter(replay.alerts["kind"])
    by_kind = ", ".join(f"{n:,} {KINDS[kind]}" for kind, n in kinds.most_common())
    yield f"Replay of {period.since:%Y-%m-%d} to {period.until:%Y-%m-%d}: {describe_scores(replay)}."
    yield f"{figures.alerts:,} alerts would have been sent{f' ({by_kind})' if by_kind else ''}."
    if nobody := int((replay.alerts["owner"] == NOBODY).sum()):
        yield f"{nobody:,} of them reach nobody: no owner can be found, and there is no alerts.fallback_owner."
    yield describe_verdicts(figures)
    yield describe_value(replay)
    if replay.period.until > replay.mature_until:
        yield f"Who left is known of accounts as they were scored until {replay.mature_until:%Y-%m-%d}, not later."
    if replay.equality is not None:
        yield replay.equality.describe()
        yield from (f"  {line}" for line in replay.equality.differences)
    if replay.failed_acts:
        yield f"{replay.failed_acts:,} acts of people on episodes could not be repeated."
    if replay.left_out:
        yield f"{len(replay.left_out):,} runs are left out: their scores were replaced by another model's since."


def describe_scores(replay: Replay) -> str:
    """Return where the scores are from: stored, or of a model of then."""
    runs = replay.period.replayed_runs - len(replay.left_out)
    parts = [f"{runs:,} runs that took place, on their stored scores"] if runs else []
    if replay.period.modelled:
        models = ", ".join(sorted(v for v in replay.origins if v))
        looks = len(replay.period.modelled)
        parts.append(f"{looks:,} {'look' if looks == 1 else 'looks'} by models of that time ({models})")
    return "; ".join(parts)


def describe_verdicts(figures: ReplayFigures) -> str:
    """Return how many alerts were right, and of how many it is not known yet."""
    judged = figures.right + figures.wrong
    right = f"{figures.right:,} of the {judged:,} judged were right ({figures.share_right or 0:.0%})" if judged else ""
    rest = [f"{figures.open:,} are still open: their time is not over"] if figures.open else []
    rest += [f"{figures.unjudged:,} are reminders, or ask nothing that comes true"] if figures.unjudged else []
    return "; ".join(filter(None, [right or "No alert can be judged yet", *rest])) + "."


def describe_value(replay: Replay) -> str:
    """Return how many of those who left were told of, how early, and what they were worth."""
    figures, money = replay.figures, replay.currency
    if not figures.left:
        return f"Nobody is known to have left (it is known of those scored by {replay.mature_until:%Y-%m-%d})."
    lead = "" if figures.lead_days is None else f", {figures.lead_days:.0f} days before (median)"
    caught = f"{figures.caught:,.0f} {money} of value at stake caught, {figures.missed:,.0f} missed"
    share = "" if figures.share_caught is None else f" ({figures.share_caught:.0%} caught)"
    return f"{figures.left:,} accounts left, {figures.told:,} of them after an alert{lead}: {caught}{share}."


def tabulate_groups(replay: Replay) -> Iterator[Table]:
    """Yield a table of each division."""
    for by, title in _TITLES.items():
        groups = [g for g in replay.groups if g.by == by]
        rows = table(by, *_NUMBERS, title=f"{title} (values in {replay.currency})", right=_NUMBERS)
        shown = groups if by != "owner" else groups[:_SHOWN]
        for group in shown:
            rows.add_row(to_safe_line(group.value, 40), *format_cells(group.figures))
        if len(groups) > len(shown):
            rows.add_row(f"and {len(groups) - len(shown):,} more owners", *[""] * len(_NUMBERS))
        if by == "tier":
            rows.add_row("all", *format_cells(replay.figures))
        yield rows


def tabulate_kinds(replay: Replay) -> Table:
    """Build the table of the alerts by kind: how many of each came true."""
    numbers = ("alerts", "judged", "right", "of those judged")
    rows = table("kind", *numbers, title="By kind of alert", right=numbers)
    for group in (g for g in replay.groups if g.by == "kind"):
        figures = group.figures
        share = "" if figures.share_right is None else f"{figures.share_right:.0%}"
        judged = f"{figures.right + figures.wrong:,}"
        rows.add_row(KINDS[group.value], f"{figures.alerts:,}", judged, f"{figures.right:,}", share)
    return rows


def format_cells(figures: ReplayFigures) -> tuple[str, ...]:
    """Return the cells of one row, in the order of the headings."""
    return (
        f"{figures.alerts:,}",
        f"{figures.right:,}",
        "" if figures.share_right is None else f"{figures.share_right:.0%}",
        f"{figures.left:,}",
        f"{figures.told:,}",
        "" if figures.lead_days is None else f"{figures.lead_days:.0f}",
        f"{figures.caught:,.0f}",
        f"{figures.missed:,.0f}",
    )


def tabulate_causes(replay: Replay) -> Table:
    """Build the table of why accounts left unannounced: how many of each cause, and what they were worth."""
    worth = dict(zip(replay.departed["account_id"], replay.departed["value"], strict=True))
    rows = table("cause", "accounts", "value", "what it means", right=("accounts", "value"))
    for cause, text in CAUSES.items():
        theirs = [gone.account_id for gone in replay.unannounced if gone.cause == cause]
        if theirs:
            rows.add_row(cause, f"{len(theirs):,}", f"{sum(worth.get(a, 0.0) for a in theirs):,.0f}", text)
    return rows


def tabulate_unannounced(replay: Replay) -> Table:
    """Build the table of the most valuable accounts that left unannounced, each with its cause."""
    worth = dict(zip(replay.departed["account_id"], replay.departed["value"], strict=True))
    rows = table("account", "value", "cause", "shown by", right=("value",))
    ranked = sorted(replay.unannounced, key=lambda gone: (-worth.get(gone.account_id, 0.0), gone.account_id))
    for gone in ranked[:_SHOWN]:
        named = to_safe_line(f"{gone.account_id} {gone.name or ''}".strip(), 40)
        rows.add_row(named, f"{worth.get(gone.account_id, 0.0):,.0f}", gone.cause, gone.detail)
    if len(ranked) > _SHOWN:
        rows.add_row(f"and {len(ranked) - _SHOWN:,} more: --json FILE or --page FILE lists all", "", "", "")
    return rows


def tabulate_curve(curve: LoadCurve) -> Table:
    """Build the table of loads: the chosen point and that of the settings are marked."""
    numbers = ("hours", "alerts a week", "hours they take", "alerts", "right", "value caught", "of what left")
    rows = table(
        *numbers,
        "",
        title=f"Load of {'one person for all' if curve.is_of_one else 'one owner'} a week, against value caught",
        right=numbers,
    )
    for point in curve.points:
        marks = ["chosen"] if point is curve.chosen else []
        marks += ["now"] if point is curve.current else []
        figures = point.figures
        rows.add_row(
            f"{point.hours:g}",
            f"{point.alerts_a_week:.1f}",
            f"{point.hours_a_week:.1f}",
            f"{figures.alerts:,}",
            "" if figures.share_right is None else f"{figures.share_right:.0%}",
            f"{figures.caught:,.0f}",
            "" if figures.share_caught is None else f"{figures.share_caught:.0%}",
            ", ".join(marks),
        )
    return rows
