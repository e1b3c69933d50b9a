"""`python -m features`: make a sample company, check the tables, build snapshots, read the catalog."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features.catalog import BUILT_IN, Catalog
from features.catalog.markdown import renewed
from features.core.atomic_write import write_atomically
from features.core.errors import FeatureError
from features.diagnostics import data_report, leak_tests
from features.diagnostics.identity_report import Report, Some
from features.diagnostics.leak_tests import Probed
from features.engine import snapshot_cache, snapshots
from features.settings import Settings, cli
from features.settings.cli import CONFIG, AsOfs, Config, Json
from features.settings.load import load_settings
from features.sources.history import History
from features.sources.validation import Checked

app = cli.create_app("History to features: samples, checks, snapshots and the catalog.")


class Sample(StrEnum):
    """The sample companies."""

    tidewater = "tidewater"
    completejourney = "completejourney"


class Tried(StrEnum):
    """Which features are probed for leaks."""

    own = "own"
    all = "all"


@app.command()
def sample(
    name: Annotated[Sample, typer.Argument(help="tidewater is synthetic, completejourney is real purchases.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write; by default var/samples/NAME.")] = None,
    accounts: Annotated[int, typer.Option(min=100, max=1_000_000, help="tidewater: how many accounts.")] = 3000,
    months: Annotated[int, typer.Option(min=9, max=60, help="tidewater: months of history.")] = 24,
    seed: Annotated[int, typer.Option(help="tidewater: the same seed gives the same company.")] = 7,
) -> None:
    """Write a sample company's tables; a finished one is left as it is."""
    folder = out or Path("var/samples") / name.value
    with cli.show_progress("accounts") as step:
        if name is Sample.tidewater:
            from features.samples import tidewater

            summary: Any = tidewater.write(folder, accounts=accounts, months=months, seed=seed, progress=step)
        else:
            from features.samples import completejourney

            summary = completejourney.write(folder)
    print(f"{name.value} is in {folder}: {_counted(summary)}")
    print(f"Its settings: docs/examples/{name.value}.toml, which looks in ${{GARRISON_DATA:-var/samples}}")


@app.command()
def oracle(
    scores: Annotated[Path, typer.Argument(help="Test scores, as fit leaves them in var/NAME/evaluation/.")],
    target: Annotated[str, typer.Argument(help="Such as churn_90d.")],
    truth: Annotated[Path, typer.Option(help="The sample's truth.")] = Path("var/samples/tidewater/truth"),
    json: Json = None,
) -> None:
    """Hold a model of a synthetic sample against the true probabilities, the best that any model can reach."""
    from features.samples import oracle

    found = oracle.compare(scores, truth, target)
    print(
        f"{target}: AUC {found.auc:.3f}, oracle {found.oracle_auc:.3f} on {found.rows:,} rows; "
        f"AUC / oracle = {found.ratio:.3f}"
    )
    cli.write_json(json, vars(found) | {"ratio": found.ratio})


@app.command()
def check(
    config: Config = CONFIG,
    features: Annotated[
        Tried, typer.Option("--features", help="Which to probe for leaks: the company's own, or all.")
    ] = Tried.own,
    json: Json = None,
) -> None:
    """Read and check every table: rows, dates, gaps, quarantine with reasons, who is who, what looks like a leak."""
    settings = load_settings(config)
    with _opened(settings) as history:
        _print_checked(history.checked)
        probed = _probed(history, settings, features)
        found = data_report.of(history, settings, probed)
    _print_matches(found.identity)
    for line in found.lines():
        print(line)
    page = data_report.page(found, settings.var / "check.html")
    print(f"The report: {page}")
    cli.write_json(json, found.as_dict() | {"page": str(page)})
    if probed and probed.leaks:
        leaking = dict.fromkeys(leak.feature for leak in probed.leaks)
        do = "Date each fact of its stream by when it came, and say when it was known"
        raise FeatureError(f"features leak: {', '.join(leaking)}", found=str(probed.leaks[0]), hint=do)


def _probed(history: History, settings: Settings, tried: Tried) -> Probed | None:
    wanted = history.catalog.own if tried is Tried.own else history.features
    if not wanted:
        return None
    with cli.show_spinner("probing features"):
        return leak_tests.probe(history, settings, wanted)


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    as_of: AsOfs,
    config: Config = CONFIG,
) -> None:
    """Write the snapshots of all accounts at one or more instants; those of a midnight, UTC, are built once."""
    settings, instants = load_settings(config), set(as_of)
    with _opened(settings) as history, cli.show_progress("accounts") as step:
        there = snapshot_cache.there(settings, history, instants)
        table = snapshot_cache.table(settings, history, as_of, progress=step)
    snapshots.write(table, out)
    print(f"{table.num_rows:,} snapshots of {table.num_columns - 2} features in {out}")
    print(f"Of {len(instants)} instants {len(there)} were there already, {len(instants) - len(there)} built")


@app.command(name="catalog")
def show_catalog(
    config: Annotated[
        Path | None, typer.Option("--config", help="A company's TOML file: its own features too, then.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Renew this page's catalog; what stands above it is kept.")
    ] = None,
    json: Json = None,
) -> None:
    """Every feature: name, sentence, window, source."""
    catalog = Catalog.of(load_settings(config)) if config else BUILT_IN
    features = catalog.features
    if markdown:
        page = markdown.read_text(encoding="utf-8") if markdown.exists() else ""
        with write_atomically(markdown) as part:
            part.write_text(renewed(page, features), encoding="utf-8")
        print(f"{len(features)} features in {markdown}")
    else:
        _print_catalog(catalog)
    cli.write_json(json, {"version": catalog.version, "features": [f.as_dict() for f in features.values()]})


def _print_catalog(catalog: Catalog) -> None:
    table = Table("feature", "what it is", "window", "source", "unit", title=f"Catalog {catalog.version}")
    for f in catalog.features.values():
        source = ", ".join(f.sources) or "accounts"
        table.add_row(f.name, escape(f.sentence), f"{f.window} d" if f.window else "", source, escape(f.unit))
    Console().print(table)


def _counted(summary: Any) -> str:
    """A sample's figures: whole numbers of rows, shares as per cent."""
    figures = vars(summary).items()
    return ", ".join(f"{v:,} {k}" if isinstance(v, int) else f"{k} {v:.1%}" for k, v in figures if v is not None)


def _opened(settings: Settings) -> History:
    with cli.show_spinner("reading") as say:
        return History.open(settings, progress=say)


def _print_checked(checked: tuple[Checked, ...]) -> None:
    table = Table("table", "rows", "kept", "first", "last", "quarantined because")
    for c in checked:
        because = "; ".join(f"{why} ({n:,})" for why, n in c.reasons.items())
        first, last = (t.date().isoformat() if t else "" for t in (c.first, c.last))
        table.add_row(c.table, f"{c.rows:,}", f"{c.kept:,}", first, last, because)
    Console().print(table)
    for c in checked:
        if c.quarantine:
            print(f"The bad rows of {c.table}, as they came: {c.quarantine}")


def _print_matches(who: Report) -> None:
    table = Table("table", "ids of", "rows", "matched", "rate", "of no account", "of several accounts")
    for t in who.tables:
        rate = "" if t.rate is None else f"{t.rate:.1%}"
        table.add_row(t.table, t.system, f"{t.rows:,}", f"{t.matched:,}", rate, _some(t.orphans), _some(t.conflicts))
    if who.tables:
        Console().print(table)
    for what, some in who.remarks():
        print(f"{some.count:,} {what}: {', '.join(some.examples)}{', …' * (some.count > len(some.examples))}")
    if who.children.count:
        print(f"{who.children.count:,} accounts have a parent, {who.parents.count:,} accounts are one")


def _some(some: Some) -> str:
    shown = escape(", ".join(some.examples))  # an id in brackets is no style
    return f"{some.count:,} ({shown})" if shown else f"{some.count:,}"


if __name__ == "__main__":
    cli.run(app)
