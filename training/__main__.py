"""`python -m training`: fit, evaluate, promote and roll back models.

Each command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from features.core.errors import GarrisonError, RegistryError, nearest
from features.core.progress import Progress
from features.settings import Settings, cli
from features.settings.cli import CONFIG, AsOf, Config, Json
from features.settings.load import load_settings

if TYPE_CHECKING:
    from training.diagnostics.sample_size import InsufficientData
    from training.evaluation.evaluate import Evaluation
    from training.fitting.fit import FittedTarget
    from training.models.model import Model

app = cli.create_app("Features to models: train, evaluate beside baselines, promote, roll back.")
Reason = Annotated[str, typer.Option(help="Kept in the promotion log.")]


@app.command()
def fit(
    config: Config = CONFIG,
    as_of: AsOf = None,
    tune: Annotated[
        float | None, typer.Option(min=0, metavar="MINUTES", help="Look for better parameters, no longer than that.")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Learn on the Dask cluster of this scheduler, tcp://HOST:PORT."),
    ] = None,
    json: Json = None,
) -> None:
    """Train churn and upsell, log them to MLflow, print the evaluation beside the baselines."""
    from features.sources.history import History
    from training.diagnostics import leak_verdict
    from training.fitting import cli_tables
    from training.fitting import fit as training
    from training.fitting.dask import connect_cluster
    from training.fitting.tuning import Tuner
    from training.registry import mlflow_database, mlflow_runs

    if dask and tune is not None:
        raise typer.BadParameter("--tune is for one machine: leave out --dask")
    settings = load_settings(config)
    with _show_steps("fit") as show, contextlib.ExitStack() as stack:
        loader = stack.enter_context(connect_cluster(dask)) if dask else None
        # What can't be registered need not be trained.
        mlflow_database.prepare(settings)
        show("reading the tables")
        history = stack.enter_context(History.open(settings))
        fingerprint = history.compute_fingerprint()
        tuner = None if tune is None else Tuner(settings, fingerprint, tune)
        champions = _champions(settings)
        fitted = training.fit(
            history, settings, as_of=as_of, champions=champions, choose=tuner, loader=loader, progress=show
        )
    _write_test_rows(settings, fitted)
    evaluations = _evaluations(fitted)
    cli_tables.print_evaluations(evaluations, _headlines(settings, fitted))
    for name, lacking in _lacking(fitted).items():
        print(f"{name}: insufficient, not trained: {'; '.join(lacking.reasons)}")
    # Written before a leak stops the run, too: scripts read the verdict there.
    cli.write_json(json, {"run_id": None, "targets": _figures(fitted)})
    leak_verdict.raise_on_leak(evaluations)
    if not evaluations:
        print("Nothing could be trained, so nothing was registered.")
        return
    with cli.show_spinner("fit: logging to MLflow"):
        run_id, registered = mlflow_runs.log_run(settings, fitted, fingerprint=fingerprint)
    for name, model in registered.items():
        print(f"{name}: registered as {model.version}, verdict {model.verdict}")
    print(f"Run {run_id}. To serve it: python -m training promote {run_id} --config {config}")
    cli.write_json(json, {"run_id": run_id, "targets": _figures(fitted)})


@app.command()
def backtest(
    config: Config = CONFIG,
    origins: Annotated[int, typer.Option(min=1, help="The newest cutoffs to train and evaluate at.")] = 12,
    embargo: Annotated[int, typer.Option(min=0, help="Days between what is learned from and the cutoff.")] = 0,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Train at many past cutoffs as one would have then, and compare each model's scores with what came."""
    from features.sources.history import History
    from training.evaluation import plots
    from training.fitting import backtest as backtests
    from training.fitting import cli_tables

    settings = load_settings(config)
    folder = settings.var / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    with History.open(settings) as history, cli.show_progress("backtest") as report:
        results = backtests.backtest(history, settings, origins=origins, embargo=embargo, as_of=as_of, progress=report)
    cli_tables.print_backtests(results)
    for name, result in results.items():
        result.pooled.test.to_parquet(folder / f"backtest_{name}.parquet", index=False)
        for plot in plots.draw_course(f"backtest_{name}", result.pooled.evaluation.by_cutoff):
            print(f"{name}: {plot.save(folder / f'{plot.name}.svg')}")
    cli.write_json(json, {"targets": {name: result.as_dict() for name, result in results.items()}})


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(help="A run's id, latest, champion or challenger.")],
    run_b: Annotated[str, typer.Argument(help="Another.")],
    config: Config = CONFIG,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Compare two runs' models on rows later than all that either learned from."""
    from features.sources.history import History
    from training.evaluation import compare as comparisons
    from training.fitting import cli_tables
    from training.registry import mlflow_registry

    settings = load_settings(config)
    with cli.show_spinner("compare"):
        a, b = (mlflow_registry.load_models(settings, run) for run in (run_a, run_b))
        with History.open(settings) as history:
            results = comparisons.compare(history, settings, a, b, as_of=as_of)
    cli_tables.print_comparisons(results, run_a, run_b)
    cli.write_json(json, {"a": run_a, "b": run_b, "targets": {name: c.as_dict() for name, c in results.items()}})


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="The run's id, latest or challenger.")],
    config: Config = CONFIG,
    reason: Reason = "promoted by hand",
    force: Annotated[bool, typer.Option("--force", help="Whatever the checks say, but for a suspected leak.")] = False,
) -> None:
    """Make a run's models the champions, those that pass every check; exit with 1 if none does."""
    from training.registry import mlflow_registry

    with cli.show_spinner("promote"):
        results = mlflow_registry.promote(load_settings(config), run, reason=reason, force=force)
    refusals = {target: result for target, result in results.items() if isinstance(result, str)}
    if len(refusals) == len(results):
        reasons = "; ".join(f"{target}: {refusal}" for target, refusal in refusals.items())
        raise RegistryError(f"nothing was promoted: {reasons}")
    for target, result in results.items():
        if isinstance(result, str):
            print(f"{target}: {result}")
            continue
        print(f"{target}: champion is {result.version}, since {result.at}")
        for name, outcome in result.checks.items():
            print(f"  {name}: {outcome}")


@app.command()
def rollback(
    target: Annotated[str, typer.Argument(help="churn or upsell.")],
    config: Config = CONFIG,
    reason: Reason = "rolled back by hand",
) -> None:
    """Make the champion before the present one champion again."""
    from training.registry import mlflow_registry

    promotion = mlflow_registry.rollback(load_settings(config), target, reason=reason)
    print(f"{target}: champion is {promotion.version} again")


@app.command()
def card(
    target: Annotated[str | None, typer.Argument(help="churn or upsell; without it, both.")] = None,
    config: Config = CONFIG,
    run: Annotated[str, typer.Option(help="A run's id, latest, champion or challenger.")] = "champion",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it here; of one target alone.")] = None,
) -> None:
    """Write the model card, a page that needs nothing beside it."""
    from training.registry import mlflow_registry
    from training.registry import model_card as cards

    settings = load_settings(config)
    if target not in {None, *settings.targets}:
        raise GarrisonError(f"there is no target {target}", hint=nearest(str(target), settings.targets))
    if out and not target:
        raise typer.BadParameter("name the target whose card is to be written there")
    versions = mlflow_registry.find_versions(settings, run)
    for name in [target] if target else versions:
        if name not in versions:
            raise RegistryError(f"the run {run} has no model of {name}", hint="Name another with --run")
        file = out or settings.var / "cards" / f"{versions[name].version}.html"
        print(f"{name}: {cards.copy_card(versions[name].folder, file)}")


@app.command()
def champions(config: Config = CONFIG) -> None:
    """Show which models serve, since when and why."""
    from training.registry import promotion_log

    promotions = promotion_log.read_current(load_settings(config))
    if not promotions:
        print(f"No model is champion yet. Promote one: python -m training promote latest --config {config}")
    for p in promotions.values():
        print(f"{p.target}: {p.version} since {p.at} ({p.action}: {p.reason}), run {p.run_id}")


@contextlib.contextmanager
def _show_steps(command: str) -> Iterator[Progress]:
    """Yield a function that shows a step and when it began: above a spinner on a terminal, else as a plain line."""
    console, began = Console(stderr=True), monotonic()
    with console.status(f"{command} …") as status:

        def show(step: str, _done: int = 0, _total: int = 0, /) -> None:
            console.print(f"{monotonic() - began:5.0f} s  {step}", markup=False, highlight=False, soft_wrap=True)
            status.update(Text(f"{command}: {step} …", overflow="ellipsis", no_wrap=True))

        yield show


def _champions(settings: Settings) -> dict[str, Model]:
    """Load the models that serve; none if one of them is broken, so that a new one can be trained all the same."""
    from training.registry import promotion_log

    try:
        return promotion_log.load_champions(settings)
    except RegistryError as error:
        sys.stderr.write(f"Evaluated without the champion: {error}\n")
        return {}


def _evaluations(fitted: dict[str, FittedTarget]) -> dict[str, Evaluation]:
    return {f"{n}_{h}d": o.evaluation for n, f in fitted.items() for h, o in f.results.items()}


def _headlines(settings: Settings, fitted: dict[str, FittedTarget]) -> dict[str, str]:
    """Return what each model is worth, in a sentence."""
    from training.evaluation.headline import describe_headline

    leads = {name: settings.targets[name].lead_days for name in fitted}
    return {
        f"{n}_{h}d": describe_headline(n, o.evaluation, days=leads[n] + h)
        for n, f in fitted.items()
        for h, o in f.results.items()
    }


def _lacking(fitted: dict[str, FittedTarget]) -> dict[str, InsufficientData]:
    return {f"{n}_{h}d": lacking for n, f in fitted.items() for h, lacking in f.insufficient.items()}


def _figures(fitted: dict[str, FittedTarget]) -> dict[str, Any]:
    trained = {name: evaluation.as_dict() for name, evaluation in _evaluations(fitted).items()}
    return trained | {name: lacking.as_dict() for name, lacking in _lacking(fitted).items()}


def _write_test_rows(settings: Settings, fitted: dict[str, FittedTarget]) -> None:
    """Write the test rows with label and score, to look into and to compare with a sample's truth."""
    folder = settings.var / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    for name, f in fitted.items():
        for horizon, outcome in f.results.items():
            outcome.test.to_parquet(folder / f"{name}_{horizon}d.parquet", index=False)


if __name__ == "__main__":
    cli.run(app)
