"""Prints evaluations, backtests and comparisons as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from features.settings import cli
from training.evaluation.compare import FigureDifference, ModelComparison
from training.evaluation.evaluate import Evaluation
from training.fitting.backtest import Backtest

# Each cell has several lines, as its heading has, so that a row fits a terminal of 80 columns.
_HEADINGS = (
    "rows\nbase rate\nlift 10 %\nprofit",
    "AUC\n95 %\nwithin a day\nAP",
    "Brier skill\nECE\nits noise\n ",
    "baselines' AUC\n \n \n ",
)
_WEAK = 5  # segments that are named
_SHORT = 10  # characters of a run's id


def print_evaluations(results: Mapping[str, Evaluation], headlines: Mapping[str, str]) -> None:
    """Print one row for each target and horizon, then what each is worth, and the reasons of its verdict."""
    _print_rows(("target\nverdict\n \n ", *_HEADINGS), (_format_cells(name, e) for name, e in results.items()))
    for name, e in results.items():
        print(f"{name}: {headlines[name]}")
        if e.coverage:
            print(f"{name}: {e.coverage.describe()}")
        for reason in e.reasons:
            print(f"{name}: {reason}")


def print_backtests(results: Mapping[str, Backtest]) -> None:
    """Print for each target and horizon a row for each origin, and the pooled figures last."""
    for name, result in results.items():
        rows = [_format_cells(f"{o.as_of:%Y-%m-%d}", o.evaluation) for o in result.origins]
        _print_rows((f"{name}\nverdict\n \n ", *_HEADINGS), [*rows, _format_cells("pooled", result.pooled.evaluation)])
        for at, reason in result.skipped:
            print(f"{name}: {at:%Y-%m-%d} left out: {reason}")
        for reason in result.pooled.evaluation.reasons:
            print(f"{name}: {reason}")


def print_comparisons(results: Mapping[str, ModelComparison], a: str, b: str) -> None:
    """Print one row for each figure, then the segments whose difference chance alone would not explain."""
    a, b = a[:_SHORT], b[:_SHORT]
    for name, result in results.items():
        rows = [_format_difference(d, a, b) for d in result.differences]
        _print_rows((name, a, b, "difference (95 %)", "better"), rows)
        first, last = result.cutoffs[0], result.cutoffs[-1]
        print(
            f"{name}: {result.rows:,} rows from {first:%Y-%m-%d} to {last:%Y-%m-%d}, base rate {result.base_rate:.3f}"
        )
        for run, ece, noise in zip((a, b), result.ece, result.ece_noise, strict=True):
            print(f"{name}: calibration error of {run} {ece:.3f}, noise up to {noise:.3f}")
        if result.top:
            stay = (
                f"{result.top.shared} of {result.top.top} at the top, {result.top.tenth_share:.0%} of the highest tenth"
            )
            print(f"{name}: in both rankings of {last:%Y-%m-%d}: {stay}")
        apart = [s for s in result.segments if s.auc and s.auc.better]
        for s in sorted(apart, key=lambda s: -abs(s.auc.difference) if s.auc else 0.0)[:_WEAK]:
            print(f"{name}: {s.by} {s.value} ({s.rows:,} rows): AUC {', '.join(_format_difference(s.auc, a, b)[1:])}")


def _format_difference(d: FigureDifference | None, a: str, b: str) -> tuple[str, ...]:
    assert d
    better = {"a": a, "b": b, "": "neither"}[d.better]
    interval = f"{d.difference:+.4f} ({d.low:+.4f} to {d.high:+.4f})"
    return d.figure, f"{d.a:.4f}", f"{d.b:.4f}", interval, better


def _format_cells(name: str, e: Evaluation) -> tuple[str, ...]:
    return (
        f"{name}\n{e.verdict}",
        f"{e.rows:,}\n{e.base_rate:.3f}\n{e.lift_10:.1f}\n{e.profit:.2f}",
        f"{e.auc:.3f}\n{e.auc_low:.3f}-{e.auc_high:.3f}\n{_format_known(e.auc_within)}\n{e.ap:.3f}",
        f"{e.brier_skill:.3f}\n{e.ece:.3f}\n{e.ece_noise:.3f}",
        "\n".join(f"{baseline} {b.auc:.3f}" for baseline, b in e.baselines.items() if baseline != "base_rate"),
    )


def _format_known(figure: float | None) -> str:
    return " " if figure is None else f"{figure:.3f}"


def _print_rows(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = cli.table(*headings)
    for row in rows:
        table.add_row(*row)
    cli.print_table(table)
