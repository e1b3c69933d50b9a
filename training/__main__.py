"""`python -m training`: train, judge, promote and roll back."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from features.core.errors import GarrisonError, RegistryError, nearest
from features.settings import Settings, cli
from features.settings.cli import CONFIG, AsOf, Config, Json
from features.settings.load import load
from features.sources.history import History
from training.diagnostics import leak_verdict
from training.diagnostics.sample_size import Lacking
from training.evaluation import compare as comparisons
from training.evaluation import plots
from training.fitting import backtest as backtests
from training.fitting import cli_tables
from training.fitting import fit as training
from training.fitting.dask import cluster
from training.fitting.fit import Fitted
from training.fitting.tuning import Tuner
from training.models.model import Bundle
from training.registry import mlflow_registry, promotion_log
from training.registry import model_card as cards
from training.registry.promotion_log import Promotion

app = cli.app("Features to models: train, judge beside baselines, promote, roll back.")
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
    if dask and tune is not None:
        raise typer.BadParameter("--tune is for one machine: leave out --dask")
    settings = load(config)
    with History.open(settings) as history, cluster(dask) if dask else nullcontext() as held:
        fingerprint = history.fingerprint()
        tuner = None if tune is None else Tuner(settings, fingerprint, tune)
        fitted = training.fit(history, settings, as_of=as_of, champions=_champions(settings), choose=tuner, held=held)
    _keep_test(settings, fitted)
    cli_tables.evaluations({f"{n}_{h}d": o.evaluation for n, f in fitted.items() for h, o in f.outcomes.items()})
    for what, lacking in _lacking(fitted).items():
        print(f"{what}: insufficient, not trained: {'; '.join(lacking.reasons)}")
    # Written before a leak stops the run, too: scripts read the verdict there.
    cli.write_json(json, {"run_id": None, "targets": _targets(fitted)})
    leak_verdict.refuse({f"{n}_{h}d": o.evaluation for n, f in fitted.items() for h, o in f.outcomes.items()})
    if not any(f.outcomes for f in fitted.values()):
        print("Nothing could be trained, so nothing was registered.")
        return
    run_id, registered = mlflow_registry.log(settings, fitted, fingerprint=fingerprint)
    for name, model in registered.items():
        print(f"{name}: registered as {model.version}, verdict {model.verdict}")
    print(f"Run {run_id}. To serve it: python -m training promote {run_id} --config {config}")
    cli.write_json(json, {"run_id": run_id, "targets": _targets(fitted)})


@app.command()
def backtest(
    config: Config = CONFIG,
    origins: Annotated[int, typer.Option(min=1, help="The newest cutoffs to train and judge at.")] = 12,
    embargo: Annotated[int, typer.Option(min=0, help="Days between what is learned from and the cutoff.")] = 0,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Train at many past cutoffs as one would have then, and judge each on what came."""
    settings = load(config)
    folder = settings.var / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    with History.open(settings) as history, cli.progress("backtest") as report:
        done = backtests.backtest(history, settings, origins=origins, embargo=embargo, as_of=as_of, progress=report)
    cli_tables.backtests(done)
    for name, found in done.items():
        file = folder / f"backtest_{name}.png"
        plots.over_time(f"{name}: backtest", found.pooled.evaluation.by_cutoff).savefig(file)
        found.pooled.test.to_parquet(folder / f"backtest_{name}.parquet", index=False)
        print(f"{name}: {file}")
    cli.write_json(json, {"targets": {name: found.as_dict() for name, found in done.items()}})


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(help="A run's id, latest, champion or challenger.")],
    run_b: Annotated[str, typer.Argument(help="Another.")],
    config: Config = CONFIG,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Hold two runs' models against each other on rows later than all that either learned from."""
    settings = load(config)
    a, b = (mlflow_registry.bundles(settings, run) for run in (run_a, run_b))
    with History.open(settings) as history:
        done = comparisons.compare(history, settings, a, b, as_of=as_of)
    cli_tables.comparisons(done, run_a, run_b)
    cli.write_json(json, {"a": run_a, "b": run_b, "targets": {name: c.as_dict() for name, c in done.items()}})


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="The run's id, latest or challenger.")],
    config: Config = CONFIG,
    reason: Reason = "promoted by hand",
    force: Annotated[bool, typer.Option("--force", help="Whatever the checks say, but for a suspected leak.")] = False,
) -> None:
    """Make a run's models the champions, those that pass every check."""
    with cli.spinner("promote"):
        promoted = mlflow_registry.promote(load(config), run, reason=reason, force=force)
    for target, done in promoted.items():
        print(f"{target}: {f'champion is {done.version}, since {done.at}' if isinstance(done, Promotion) else done}")
        for name, said in done.checks.items() if isinstance(done, Promotion) else ():
            print(f"  {name}: {said}")


@app.command()
def rollback(
    target: Annotated[str, typer.Argument(help="churn or upsell.")],
    config: Config = CONFIG,
    reason: Reason = "rolled back by hand",
) -> None:
    """Make the champion before the present one champion again."""
    done = mlflow_registry.rollback(load(config), target, reason=reason)
    print(f"{target}: champion is {done.version} again")


@app.command()
def card(
    target: Annotated[str | None, typer.Argument(help="churn or upsell; without it, both.")] = None,
    config: Config = CONFIG,
    run: Annotated[str, typer.Option(help="A run's id, latest, champion or challenger.")] = "champion",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it here; of one target alone.")] = None,
) -> None:
    """Write the model card, a page that needs nothing beside it."""
    settings = load(config)
    if target not in {None, *settings.targets}:
        raise GarrisonError(f"there is no target {target}", hint=nearest(str(target), settings.targets))
    if out and not target:
        raise typer.BadParameter("name the target whose card is to be written there")
    found = mlflow_registry.versions(settings, run)
    for name in [target] if target else found:
        if name not in found:
            raise RegistryError(f"the run {run} has no model of {name}", hint="Name another with --run")
        file = out or settings.var / "cards" / f"{found[name].version}.html"
        print(f"{name}: {cards.copy(found[name].folder, file)}")


@app.command()
def champions(config: Config = CONFIG) -> None:
    """Which models serve, since when and why."""
    for p in promotion_log.current(load(config)).values():
        print(f"{p.target}: {p.version} since {p.at} ({p.action}: {p.reason}), run {p.run_id}")


def _champions(settings: Settings) -> dict[str, Bundle]:
    """The models that serve; none where one of them is broken, for then a new one is wanted all the more."""
    try:
        return promotion_log.champions(settings)
    except RegistryError as error:
        print(f"Judged without the champion: {error}")
        return {}


def _targets(fitted: dict[str, Fitted]) -> dict[str, Any]:
    judged = {f"{n}_{h}d": o.evaluation.as_dict() for n, f in fitted.items() for h, o in f.outcomes.items()}
    return judged | {what: lacking.as_dict() for what, lacking in _lacking(fitted).items()}


def _lacking(fitted: dict[str, Fitted]) -> dict[str, Lacking]:
    return {f"{n}_{h}d": lacking for n, f in fitted.items() for h, lacking in f.lacking.items()}


def _keep_test(settings: Settings, fitted: dict[str, Fitted]) -> None:
    """The test rows with label and score, to look into and to hold against a sample's truth."""
    folder = settings.var / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    for name, f in fitted.items():
        for horizon, outcome in f.outcomes.items():
            outcome.test.to_parquet(folder / f"{name}_{horizon}d.parquet", index=False)


if __name__ == "__main__":
    cli.run(app)
