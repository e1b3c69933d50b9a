"""What the commands print: evaluations, backtests and comparisons as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

from training.evaluation.compare import FigureDifference, ModelComparison
from training.evaluation.evaluate import Evaluation
from training.fitting.backtest import Backtest

_HEAD = (
    "rows",
    "base",
    "AUC (95 %)",
    "AP",
    "Brier skill",
    "ECE (noise)",
    "lift 10 %",
    "profit",
    "baselines' AUC",
    "verdict",
)
_WEAK = 5  # segments that are named
_SHORT = 12  # characters of a run's id


def print_evaluations(found: Mapping[str, Evaluation]) -> None:
    """One row for each target and horizon, then why each verdict."""
    _print(("target", *_HEAD), ((name, *_cells(e)) for name, e in found.items()))
    for name, e in found.items():
        for reason in e.reasons:
            print(f"{name}: {reason}")


def print_backtests(found: Mapping[str, Backtest]) -> None:
    """For each target and horizon a row for each origin, and the pooled figures last."""
    for name, done in found.items():
        rows = [(f"{o.as_of:%Y-%m-%d}", *_cells(o.evaluation)) for o in done.origins]
        _print((name, *_HEAD), [*rows, ("pooled", *_cells(done.pooled.evaluation))])
        for at, reason in done.skipped:
            print(f"{name}: {at:%Y-%m-%d} left out: {reason}")
        for reason in done.pooled.evaluation.reasons:
            print(f"{name}: {reason}")


def print_comparisons(found: Mapping[str, ModelComparison], a: str, b: str) -> None:
    """One row for each figure, then the segments whose difference chance alone would not explain."""
    a, b = a[:_SHORT], b[:_SHORT]
    for name, done in found.items():
        _print((name, a, b, "difference (95 %)", "better"), (_difference(d, a, b) for d in done.differences))
        first, last = done.cutoffs[0], done.cutoffs[-1]
        print(f"{name}: {done.rows:,} rows from {first:%Y-%m-%d} to {last:%Y-%m-%d}, base rate {done.base_rate:.3f}")
        for run, ece, noise in zip((a, b), done.ece, done.ece_noise, strict=True):
            print(f"{name}: calibration error of {run} {ece:.3f}, noise up to {noise:.3f}")
        apart = [s for s in done.segments if s.auc and s.auc.better]
        for s in sorted(apart, key=lambda s: -abs(s.auc.difference) if s.auc else 0.0)[:_WEAK]:
            print(f"{name}: {s.by} {s.value} ({s.rows:,} rows): AUC {', '.join(_difference(s.auc, a, b)[1:])}")


def _difference(found: FigureDifference | None, a: str, b: str) -> tuple[str, ...]:
    assert found
    better = {"a": a, "b": b, "": "neither"}[found.better]
    ends = f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    return found.figure, f"{found.a:.4f}", f"{found.b:.4f}", ends, better


def _cells(e: Evaluation) -> tuple[str, ...]:
    return (
        f"{e.rows:,}",
        f"{e.base_rate:.3f}",
        f"{e.auc:.3f} ({e.auc_low:.3f}-{e.auc_high:.3f})",
        f"{e.ap:.3f}",
        f"{e.brier_skill:.3f}",
        f"{e.ece:.3f} ({e.ece_noise:.3f})",
        f"{e.lift_10:.1f}",
        f"{e.profit:.2f}",
        "\n".join(f"{rival} {b.auc:.3f}" for rival, b in e.baselines.items() if rival != "base_rate"),
        e.verdict,
    )


def _print(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    Console(width=max(Console().width, 140)).print(table)
