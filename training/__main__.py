"""`python -m training`: train, judge, promote and roll back."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from features import command
from features.command import CONFIG, AsOf, Config, Json
from features.company import load
from features.history import History
from features.settings import Settings
from training import fit as training
from training import promotions, registry
from training.fit import Fitted

app = command.app("Features to models: train, judge beside baselines, promote, roll back.")
Reason = Annotated[str, typer.Option(help="Kept in the promotion log.")]


@app.command()
def fit(config: Config = CONFIG, as_of: AsOf = None, json: Json = None) -> None:
    """Train churn and upsell, log them to MLflow, print the evaluation beside the baselines."""
    settings = load(config)
    with History.open(settings) as history:
        fitted = training.fit(history, settings, as_of=as_of)
        run_id, registered = registry.log(settings, fitted, fingerprint=history.fingerprint())
    _keep_test(settings, fitted)
    _show(fitted)
    for name, model in registered.items():
        print(f"{name}: registered as {model.version}, verdict {model.verdict}")
    print(f"Run {run_id}. To serve it: python -m training promote {run_id} --config {config}")
    command.write_json(json, {"run_id": run_id, "targets": _targets(fitted)})


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="The run's id, or latest.")],
    config: Config = CONFIG,
    reason: Reason = "promoted by hand",
    force: Annotated[bool, typer.Option("--force", help="Even without a signal.")] = False,
) -> None:
    """Make a run's models the champions, those that have a signal."""
    for target, done in registry.promote(load(config), run, reason=reason, force=force).items():
        print(f"{target}: {done if isinstance(done, str) else f'champion is {done.version}, since {done.at}'}")


@app.command()
def rollback(
    target: Annotated[str, typer.Argument(help="churn or upsell.")],
    config: Config = CONFIG,
    reason: Reason = "rolled back by hand",
) -> None:
    """Make the champion before the present one champion again."""
    done = registry.rollback(load(config), target, reason=reason)
    print(f"{target}: champion is {done.version} again")


@app.command()
def champions(config: Config = CONFIG) -> None:
    """Which models serve, since when and why."""
    for p in promotions.current(load(config)).values():
        print(f"{p.target}: {p.version} since {p.at} ({p.action}: {p.reason}), run {p.run_id}")


def _targets(fitted: dict[str, Fitted]) -> dict[str, Any]:
    return {f"{n}_{h}d": o.evaluation.as_dict() for n, f in fitted.items() for h, o in f.outcomes.items()}


def _keep_test(settings: Settings, fitted: dict[str, Fitted]) -> None:
    """The test rows with label and score, to look into and to hold against a sample's truth."""
    folder = settings.var / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    for name, f in fitted.items():
        for horizon, outcome in f.outcomes.items():
            outcome.test.to_parquet(folder / f"{name}_{horizon}d.parquet", index=False)


def _show(fitted: dict[str, Fitted]) -> None:
    table = Table(
        "target", "rows", "base", "AUC (95 %)", "AP", "Brier", "ECE", "lift 10 %", "baselines' AUC", "verdict"
    )
    for name, f in fitted.items():
        for horizon, outcome in f.outcomes.items():
            e = outcome.evaluation
            table.add_row(
                f"{name}_{horizon}d",
                f"{e.rows:,}",
                f"{e.base_rate:.3f}",
                f"{e.auc:.3f} ({e.auc_low:.3f}-{e.auc_high:.3f})",
                f"{e.ap:.3f}",
                f"{e.brier:.3f}",
                f"{e.ece:.3f}",
                f"{e.lift_10:.1f}",
                ", ".join(f"{rival} {b.auc:.3f}" for rival, b in e.baselines.items()),
                e.verdict,
            )
    Console(width=max(Console().width, 120)).print(table)
    for name, f in fitted.items():
        for horizon, outcome in f.outcomes.items():
            for reason in outcome.evaluation.reasons:
                print(f"{name}_{horizon}d: {reason}")


if __name__ == "__main__":
    command.run(app)
