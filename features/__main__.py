"""Run `python -m features`: make a sample company, check the tables, build snapshots, list the catalog."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.core.errors import FeatureError, LabelError, SettingsError, nearest
from features.erasure import commands as erasures
from features.settings import Settings, cli
from features.settings.cli import CONFIG, AsOf, AsOfs, Config, Json
from features.settings.load import load_loading, load_settings

# Ibis, pandas and DuckDB take a second to import: each command imports what it uses, so that --help is quick.
if TYPE_CHECKING:
    from features.catalog import Catalog
    from features.diagnostics.data_report import DataReport
    from features.diagnostics.identity_report import CountWithExamples, IdentityReport
    from features.diagnostics.leak_tests import LeakTestResult
    from features.sources.history import History
    from features.sources.validated_table import ValidatedTable

_SHOWN_MONTHS = 18

app = cli.create_app("History to features: samples, checks, snapshots and the catalog.")


class Sample(StrEnum):
    """The sample companies."""

    tidewater = "tidewater"
    completejourney = "completejourney"


class Probe(StrEnum):
    """The features that are tested for leaks."""

    own = "own"
    all = "all"


@app.command()
def sample(
    name: Annotated[Sample, typer.Argument(help="tidewater is synthetic, completejourney is real purchases.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write; by default var/samples/NAME.")] = None,
    accounts: Annotated[int, typer.Option(min=100, max=1_000_000, help="tidewater: how many accounts.")] = 3000,
    months: Annotated[int, typer.Option(min=9, max=60, help="tidewater: months of history.")] = 24,
    seed: Annotated[int, typer.Option(help="tidewater: the same seed gives the same company.")] = 7,
    owners_differ: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="OWNERS",
            help="tidewater: so many owners, whose known skill truly changes retention and whose accounts were not "
            "equally sick to begin with; truth_owners/ tells.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=cli.parse_date,
            metavar="DATE",
            help="tidewater: the day in its months, which end with 2025, that it has lived to; "
            "`python -m monitoring live-on` lets it live on under alerts.",
        ),
    ] = None,
) -> None:
    """Write a sample company's tables; a finished sample is left as it is."""
    folder = out or Path("var/samples") / name.value
    with cli.show_progress("accounts") as step:
        if name is Sample.tidewater:
            from features.samples import tidewater

            summary: Any = tidewater.write_sample(
                folder,
                accounts=accounts,
                months=months,
                seed=seed,
                until=until.date() if until else None,
                owners_differ=owners_differ,
                progress=step,
            )
        else:
            from features.samples import completejourney

            summary = completejourney.write_sample(folder)
    print(f"{name.value} is in {folder}: {_format_summary(summary)}")
    print(f"Its settings: docs/examples/{name.value}.toml, which looks in ${{GARRISON_DATA:-var/samples}}")


@app.command()
def oracle(
    scores: Annotated[Path, typer.Argument(help="Test scores, as fit leaves them in var/NAME/evaluation/.")],
    target: Annotated[str, typer.Argument(help="Such as churn_90d.")],
    truth: Annotated[Path, typer.Option(help="The sample's truth.")] = Path("var/samples/tidewater/truth"),
    json: Json = None,
) -> None:
    """Compare a model of a synthetic sample with the true probabilities, the best that any model can reach."""
    from features.samples import oracle

    comparison = oracle.compare(scores, truth, target)
    print(
        f"{target}: AUC {comparison.auc:.3f}; the true chances reach {comparison.oracle_auc:.3f} on these "
        f"{comparison.rows:,} rows, and no model can do better: {comparison.ratio:.1%} of that"
    )
    cli.write_json(json, vars(comparison) | {"ratio": comparison.ratio})


@app.command()
def init(
    place: Annotated[str, typer.Argument(metavar="FOLDER|URL", help="Exports in a folder, or a database's URL.")],
    recipe: Annotated[
        list[str] | None, typer.Option(help="A system that tables come from, such as stripe; give it repeatedly.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The TOML file to write.")] = Path("company.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    json: Json = None,
) -> None:
    """Propose a company's TOML file from its exports or database, with the reason beside each line."""
    from features.core.atomic_write import write_atomically
    from features.proposal import propose, report

    if out.exists() and not force:
        raise SettingsError(f"{out} exists", hint="Name another file with --out, or overwrite it with --force")
    with cli.show_spinner("reading") as step:
        tried = propose.propose(place, out, recipe or (), step)
    with write_atomically(out) as part:
        part.write_text(tried.text, encoding="utf-8")
    report.print_proposal(tried, out)
    cli.write_json(json, report.as_dict(tried, out))


@app.command()
def check(
    config: Config = CONFIG,
    features: Annotated[
        Probe, typer.Option("--features", help="Which to probe for leaks: the company's own, or all.")
    ] = Probe.own,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Read and check every table: rows, dates, gaps, quarantine with reasons, identities, suspected leaks.

    First comes whether one can train, and on what: the cohort and the base rate of each rule, month by month. Each
    source is compared with its own past, by default as of now.
    """
    from features.diagnostics import data_report
    from features.sources.validated_table import refuse_bad
    from training.targets.label_overview import build_label_report

    settings = load_settings(config)
    with _open_history(settings, refuse=False) as history:
        no_event = history.explain_no_event()
        probed = None if no_event else _probe(history, settings, features)
        labels = build_label_report(history, settings) if history.has_events else None
        report = data_report.build_data_report(history, settings, probed, as_of=as_of, labels=labels)
    for line in labels.answer(report.sources) if labels else ():
        print(line)
    _print_checked(history.checked)
    _print_labels(report)
    _print_matches(report.identity)
    for line in report.lines():
        print(line)
    page = data_report.write_page(report, settings.var / "check.html")
    print(f"The report: {page}")
    cli.write_json(json, report.as_dict() | {"page": str(page)})
    refuse_bad(history.checked, settings)
    if no_event:
        raise no_event
    if probed and probed.leaks:
        leaking = dict.fromkeys(leak.feature for leak in probed.leaks)
        hint = "Date each fact of its stream by the time it happened, and say when it became known"
        raise FeatureError(f"features leak: {', '.join(leaking)}", found=str(probed.leaks[0]), hint=hint)
    # A company too young to be learned from is told so above; it is no fault.
    if labels and labels.faults:
        hint = "Look at the cohort and label by month above, and at the other rules that these tables allow"
        raise LabelError("training would stop", found="; ".join(labels.faults), hint=hint)


def _probe(history: History, settings: Settings, chosen: Probe) -> LeakTestResult | None:
    from features.diagnostics import leak_tests

    wanted = history.catalog.custom_features if chosen is Probe.own else history.features
    if not wanted:
        return None
    with cli.show_spinner("probing features"):
        return leak_tests.run_leak_tests(history, settings, wanted)


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    as_of: AsOfs,
    config: Config = CONFIG,
) -> None:
    """Write the snapshots of all accounts at one or more instants; those of a midnight, UTC, are built once."""
    from features.engine import snapshot_cache

    settings, instants = load_settings(config), set(as_of)
    with _open_history(settings) as history, cli.show_progress("accounts") as step:
        cached = snapshot_cache.find_cached(settings, history, instants)
        written = snapshot_cache.write_file(settings, history, as_of, out, progress=step)
    print(f"{written.num_rows:,} snapshots of {written.num_columns - 2} features in {out}")
    noun = "instant" if len(instants) == 1 else "instants"
    print(f"{len(instants)} {noun}: {len(cached)} from the cache, {len(instants) - len(cached)} built")


@app.command(name="catalog")
def show_catalog(
    config: Annotated[
        Path | None, typer.Option("--config", help="A company's TOML file, to list its own features too.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rewrite the catalog of this page; the text above it is kept.")
    ] = None,
    json: Json = None,
) -> None:
    """List every feature: name, sentence, window, source."""
    from features.catalog import BUILT_IN, Catalog
    from features.catalog.markdown import replace_catalog
    from features.core.atomic_write import write_atomically

    catalog = Catalog.for_company(load_settings(config)) if config else BUILT_IN
    features = catalog.features
    if markdown:
        page = markdown.read_text(encoding="utf-8") if markdown.exists() else ""
        with write_atomically(markdown) as part:
            part.write_text(replace_catalog(page, features), encoding="utf-8")
        print(f"{len(features)} features in {markdown}")
    else:
        _print_catalog(catalog)
    cli.write_json(json, {"version": catalog.version, "features": [f.as_dict() for f in features.values()]})


def _print_catalog(catalog: Catalog) -> None:
    table = cli.table("feature", "what it is", "window", "source", "unit", title=f"Catalog {catalog.version}")
    for f in catalog.features.values():
        window = f"{f.window} d" if f.window else ""
        table.add_row(f.name, f.sentence, window, ", ".join(f.sources) or "accounts", f.unit)
    cli.print_table(table)


def _format_summary(summary: Any) -> str:
    """Return a sample's figures in words: whole numbers of rows, shares as per cent."""
    words = {
        "usage": "usage events",
        "truth": "true chances apart",
        "churn_90d": "of the accounts leave within 90 days",
        "upsell_90d": "buy more",
    }
    figures = [(words.get(name, name), value) for name, value in vars(summary).items() if value is not None]
    return ", ".join(f"{v:,} {name}" if isinstance(v, int) else f"{v:.1%} {name}" for name, v in figures)


@app.command("settings")
def list_settings(
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Renew the reference in this page, from its '## All keys' on.")
    ] = None,
) -> None:
    """List every key of the TOML: what it takes, its default, what it means; and every column of the tables."""
    from features.core.atomic_write import write_atomically
    from features.settings.reference import replace_reference

    if markdown is None:
        print(replace_reference(""), end="")
        return
    page = markdown.read_text(encoding="utf-8") if markdown.exists() else ""
    with write_atomically(markdown) as part:
        part.write_text(replace_reference(page), encoding="utf-8")
    print(f"All keys are in {markdown}")


@app.command()
def load(
    config: Config = CONFIG,
    only: Annotated[list[str] | None, typer.Option(help="Load this system alone, by its name in [load].")] = None,
    json: Json = None,
) -> None:
    """Fetch what is new in the tables of other systems, as [load] says, into Parquet files that sources can name."""
    from features.loading import pipeline

    settings = load_loading(config)
    for name in only or ():
        if name not in settings.load:
            raise SettingsError(f"there is no [load.{name}] in {config}", hint=nearest(name, settings.load))
    rows = list[pipeline.LoadedRows]()
    with cli.show_spinner("loading") as report:
        for name in only or settings.load:
            rows += pipeline.load_system(settings, name, report)
    table = cli.table("system", "table", "fetched", "rows", "path of a source", right=("fetched", "rows"))
    for r in rows:
        table.add_row(r.system, r.table, "" if r.fetched is None else f"{r.fetched:,}", f"{r.rows:,}", str(r.folder))
    cli.print_table(table)
    cli.write_json(json, {"tables": [vars(r) for r in rows]})


def _open_history(settings: Settings, *, refuse: bool = True) -> History:
    from features.sources.history import History

    with cli.show_spinner("reading") as report:
        return History.open(settings, progress=report, refuse=refuse)


def _print_checked(checked: tuple[ValidatedTable, ...]) -> None:
    table = cli.table("table", "rows", "kept", "first", "last", "quarantined because", right=("rows", "kept"))
    for c in checked:
        reasons = "; ".join(f"{reason} ({n:,})" for reason, n in c.reasons.items())
        first, last = (t.date().isoformat() if t else "" for t in (c.first, c.last))
        table.add_row(c.table, f"{c.rows:,}", f"{c.kept:,}", first, last, reasons)
    cli.print_table(table)
    for c in checked:
        if c.quarantine:
            print(f"The bad rows of {c.table}, as they came: {c.quarantine}")


def _print_labels(report: DataReport) -> None:
    """Print the cohort and label of each month under the rules of the settings, and one line for each other rule."""
    labels = report.labels
    if labels is None:
        return
    numbers = ("accounts", "cohort", "asked", "came true", "base rate")
    for rule in labels.configured:
        print(f"{rule.name}, cohort {rule.cohort}, label {rule.label}, by month:")
        table = cli.table("cutoff", *numbers, right=numbers)
        for month in rule.months[-_SHOWN_MONTHS:]:
            counts = (f"{n:,}" for n in (month.accounts, month.cohort, month.asked, month.positives))
            table.add_row(f"{month.as_of:%Y-%m-%d}", *counts, "" if month.rate is None else f"{month.rate:.1%}")
        cli.print_table(table)
        if len(rule.months) > _SHOWN_MONTHS:
            print(f"{rule.name}: {len(rule.months) - _SHOWN_MONTHS} earlier cutoffs are in the report")
        print(f"{rule.name}: the cohort's rule, one condition after another: {rule.describe_steps()}")
    for rule in labels.alternatives:
        print(f"Another rule that these tables allow: {rule}")


def _print_matches(report: IdentityReport) -> None:
    numbers = ("rows", "matched", "rate")
    table = cli.table("table", "ids of", *numbers, "of no account", "of several accounts", right=numbers)
    for t in report.tables:
        rate = "" if t.rate is None else f"{t.rate:.1%}"
        orphans, conflicts = _format_examples(t.orphans), _format_examples(t.conflicts)
        table.add_row(t.table, t.system, f"{t.rows:,}", f"{t.matched:,}", rate, orphans, conflicts)
    if report.tables:
        cli.print_table(table)
    for remark, some in report.remarks():
        print(f"{some.count:,} {remark}: {', '.join(some.examples)}{', …' * (some.count > len(some.examples))}")
    if report.children.count:
        print(f"{report.children.count:,} accounts have a parent, {report.parents.count:,} accounts are one")


def _format_examples(some: CountWithExamples) -> str:
    examples = ", ".join(some.examples)
    return f"{some.count:,} ({examples})" if examples else f"{some.count:,}"


erasures.register(app)

if __name__ == "__main__":
    cli.run(app)
