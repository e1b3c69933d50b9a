"""Describes a training to those who look at MLflow: the run's name, its note, and the data that it learned from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.settings import Settings
from training.evaluation.evaluate import Evaluation
from training.fitting.fit import FittedTarget

_DIGEST = 36  # characters that MLflow keeps
VERDICTS = {
    "signal": "signal",
    "no_signal": "no signal",
    "insufficient": "too little data",
    "leak_suspected": "leak suspected",
}


def find_worst_verdict(fitted: FittedTarget) -> str:
    """Return the worst verdict over a target's horizons; those that could not be trained are insufficient."""
    verdicts = [o.evaluation.verdict for o in fitted.results.values()]
    verdicts += ["insufficient"] * len(fitted.insufficient)
    return next((v for v in ("leak_suspected", *verdicts) if v in verdicts and v != "signal"), "signal")


def name_run(fitted: Mapping[str, FittedTarget]) -> str:
    """Return a run's name, such as "churn: signal, upsell: no signal, learned until 2025-09-01"."""
    parts = [f"{target}: {VERDICTS[find_worst_verdict(f)]}" for target, f in fitted.items()]
    days = [f.model.learned_until for f in fitted.values() if f.model.learned_until]
    return ", ".join([*parts, *([f"learned until {max(days):%Y-%m-%d}"] if days else [])])


def write_note(settings: Settings, fitted: Mapping[str, FittedTarget], run: Any) -> str:
    """Write the note that MLflow shows above a run, in Markdown: verdicts, the figures that decide, links to the cards.

    Args:
        settings: Of the company.
        fitted: By target.
        run: MLflow's RunInfo.
    """
    trained = [target for target, f in fitted.items() if f.results]
    address = f"#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts/cards"
    lines = [
        f"**{settings.company.name}**: {name_run(fitted)}.",
        "",
        "| model | verdict | AUC (95 %) | came true in the highest tenth | on average |",
        "|---|---|---|---|---|",
        *(row for target in trained for row in _list_rows(target, fitted[target])),
        "",
        *(f"- {key}: {r.reasons[0]}." for f in fitted.values() for key, r in f.list_figures().items() if r.reasons),
        "",
        f"Model cards: {', '.join(f'[{target}]({address}/{target}.html)' for target in trained)}.",
        f"To serve them: `python -m training promote {run.run_id} --config {settings.file.name}`",
    ]
    return "\n".join(lines)


def log_datasets(mlflow: Any, settings: Settings, fitted: Mapping[str, FittedTarget], *, fingerprint: str) -> None:
    """Log which data each model learned from and was tested on: schema, number of rows and digest, no row of them."""
    with warnings.catch_warnings():
        # It says that whole numbers can't be missing; ours are only counted.
        warnings.simplefilter("ignore", category=UserWarning)
        for target, f in fitted.items():
            if not f.results:
                continue
            # The digest is that of the company's tables: MLflow's own looks at every cell.
            digest = fingerprint[:_DIGEST]
            learned = mlflow.data.from_pandas(
                f.model.reference,
                source=str(settings.file),
                name=f"{target}: sample of the training snapshots",
                digest=digest,
            )
            _set_schema(learned)
            mlflow.log_input(learned, context="training")
            for horizon, outcome in f.results.items():
                tested = mlflow.data.from_pandas(
                    outcome.test,
                    source=str(settings.file),
                    targets="label",
                    predictions="score",
                    name=f"{target}_{horizon}d: test",
                    digest=digest,
                )
                _set_schema(tested)
                mlflow.log_input(tested, context="test")


def _set_schema(dataset: Any) -> None:
    """Give one of MLflow's datasets the schema that it would find in all its rows, from those that decide it.

    MLflow looks at each cell by itself to tell whether a column may be missing: seconds for a training's sample.
    """
    from mlflow.models import infer_signature

    is_missing = dataset.df.isna().to_numpy()
    # Of each column the first row without a value, if there is one, and the first with one.
    rows = np.unique(np.concatenate([is_missing.argmax(axis=0), is_missing.argmin(axis=0)]))
    dataset.schema = infer_signature(dataset.df.iloc[rows]).inputs


def _list_rows(target: str, fitted: FittedTarget) -> list[str]:
    return [_describe_row(f"{target}, {h} days", o.evaluation) for h, o in fitted.results.items()]


def _describe_row(name: str, e: Evaluation) -> str:
    auc = f"{e.auc:.2f} ({e.auc_low:.2f} to {e.auc_high:.2f})"
    return f"| {name} | {VERDICTS[e.verdict]} | {auc} | {e.lift_10 * e.base_rate:.0%} | {e.base_rate:.0%} |"
