"""The steps of the night, each by the functions that its own command runs; each may be run again at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from features.core.contract import TABLES
from features.core.errors import DeliveryError, FeatureError, GarrisonError
from features.core.redaction import hide_password
from features.core.timestamps import from_micros, to_micros
from features.state.tables import ALERT_RUNS, EPISODES
from monitoring.alerts.queries import TARGET
from monitoring.night import night_log
from monitoring.night.context import NightContext
from monitoring.night.night_log import ACCEPTED, DISCARDED, HELD, LoggedStep, StepResult
from serving.gate import verdict_store
from serving.gate.verdict_store import JudgedRun
from serving.scoring import score_table
from serving.scoring.score_table import ScoreTable

Steps = Mapping[str, LoggedStep]


@dataclass(frozen=True)
class NightStep:
    """One step.

    Args:
        name: In the log, the output and the figures.
        run: Does it; called with the steps before it.
        needs: Steps without which it can't run.
        after: Steps whose repetition repeats it.
        has_results: Whether the files that it wrote are still there and whole; if not it is repeated.
    """

    name: str
    run: Callable[[NightContext, Steps], StepResult]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    has_results: Callable[[NightContext], bool] = lambda _: True


def check(night: NightContext, _: Steps) -> StepResult:
    """Read and validate every table, write the data report's page, and look at each source's health."""
    from features.diagnostics import data_report, leak_tests

    history, settings = night.history, night.settings
    own = history.catalog.custom_features
    tested = leak_tests.run_leak_tests(history, settings, own) if own else None
    report = data_report.build_data_report(history, settings, tested, as_of=night.until)
    page = data_report.write_page(report, settings.var / "check.html")
    if tested and tested.leaks:
        raise FeatureError("features leak", found=str(tested.leaks[0]), hint="Run `python -m features check`")
    faults = [str(finding) for finding in report.findings]
    rows, bad = sum(c.rows for c in history.checked), sum(c.bad for c in history.checked)
    summary = f"{rows:,} rows in {len(history.checked)} tables, {bad:,} in quarantine; "
    volumes = {c.table: c.rows for c in history.checked}
    figures = {"rows": rows, "quarantined": bad, "faults": faults, "ages": dict(_measure_ages(night))}
    figures |= {"volumes": volumes}
    return StepResult("done", summary + (_join(faults) or "no source at fault"), figures | {"page": str(page)})


def build(night: NightContext, _: Steps) -> StepResult:
    """Build the snapshots, into the cache."""
    from features.engine import snapshot_cache

    accounts, features = snapshot_cache.count_snapshots(night.settings, night.history, night.as_of, night.progress)
    summary = f"{accounts:,} accounts, {features} features"
    return StepResult("done", summary, {"accounts": accounts, "features": features})


def score(night: NightContext, _: Steps) -> StepResult:
    """Score every account; once alerts have gone out on a run, that run stays the night's."""
    from serving.batch import run

    if _is_alerted(night) and _has_scores(night):
        scores, note = _read_scores(night), ", kept: its alerts have been raised"
    else:
        scores, note = run.score_accounts(night.settings, None, as_of=night.as_of, progress=night.progress).scores, ""
    accounts, models = scores.table.num_rows, dict(scores.model_versions)
    summary = f"{accounts:,} accounts by {', '.join(models.values())}; run {scores.run[:8]}{note}"
    return StepResult("done", summary, {"accounts": accounts, "run": scores.run, "models": models})


def drift(night: NightContext, _: Steps) -> StepResult:
    """Compare the snapshot with the training rows of each champion, and write the pages."""
    from monitoring.drift import drift_report

    result = drift_report.run(night.settings, as_of=night.as_of)
    states = ", ".join(f"{target} {verdict.state}" for target, verdict in result.verdicts.items())
    pages = {target: str(page) for target, page in result.pages.items()}
    return StepResult("done", states, {"pages": pages})


def gate(night: NightContext, _: Steps) -> StepResult:
    """Judge the run that was scored, and inform the data team where it is held.

    Once alerts have gone out on it, the verdict of then stands.
    """
    from monitoring.gate import check
    from monitoring.notifications import held_run
    from training.registry import promotion_log

    judged = _read_acted_on(night)
    if judged is None:
        models = promotion_log.load_champions(night.settings)
        settings, state = night.settings, night.store
        judged = check.check_gate(settings, night.history, state, models=models, scored=night.as_of, until=night.until)
    verdict, reasons = judged.verdict, [str(reason) for reason in judged.verdict.reasons]
    decision = ACCEPTED if judged.is_accepted else DISCARDED if judged.is_discarded else HELD
    summary = f"{verdict.state}, {decision}{': ' if reasons else ''}{_join(reasons)}"
    if decision == HELD:
        summary += f". {held_run.write_held_message(night.settings, night.store, verdict)}"
    figures = {"run": verdict.run, "verdict": verdict.state, "decision": decision, "reasons": reasons}
    return StepResult("done", summary, figures | {"note": judged.note, "advice": verdict.advice})


def alert(night: NightContext, steps: Steps) -> StepResult:
    """Open, continue and close episodes, unless the run is held or discarded."""
    from monitoring.alerts.run_alerts import run_alerts
    from training.registry import promotion_log

    judged = steps["gate"].figures
    if judged["decision"] != ACCEPTED:
        return StepResult("skipped", "the run is on hold" if judged["decision"] == HELD else "the run was discarded")
    champions = promotion_log.load_champions(night.settings)
    run_alerts(night.settings, night.store, night.history, champions, as_of=night.as_of, note=judged["note"])
    # Counted in the database, since a night that was cut off here finds its alerts raised already.
    counts = _count_episodes(night)
    text = "{opened:,} episodes opened, {continued:,} continue, {closed:,} closed".format(**counts)
    return StepResult("done", text, counts)


def journey(night: NightContext, _: Steps) -> StepResult:
    """Let new tickets join topics and problems, cost them, and tell teams of topics that rise and fixes that fail."""
    from monitoring.cost_to_serve.cost_report import make_night_reports
    from monitoring.journey import nightly
    from monitoring.problems.library_update import update_library

    done = nightly.run(night.settings, night.history, night.store, night.as_of, night.progress)
    summary = done.describe() if done else nightly.NO_MAP
    if "tickets" in night.history.tables:
        library = update_library(night.settings, night.store, night.history, night.as_of)
        summary += f"; {library.describe()}"
        make_night_reports(night.settings, night.store, night.history, night.as_of)
    return StepResult("done", summary)


def deliver(night: NightContext, steps: Steps) -> StepResult:
    """Send what is due in the outbox, and an accepted run's scores to each destination."""
    from monitoring.alerts import escalation
    from monitoring.notifications import outbox

    summary, failures, figures = list[str](), list[str](), dict[str, Any]()
    try:
        summary += escalation.escalate_overdue(night.settings, night.store, datetime.now(UTC)).lines()
        sent = outbox.deliver(night.settings, night.store)
        figures["messages"] = sent.as_dict()
        if sent.busy:
            summary.append("another process is sending what is due")
        counts = (sent.sent, sent.waiting, len(sent.needs_attention))
        summary.append("{:,} messages sent, {:,} wait, {:,} need attention".format(*counts))
    except GarrisonError as error:
        failures.append(str(error))
    is_accepted = steps["gate"].figures.get("decision") == ACCEPTED
    for destination in night.settings.monitoring.deliver_to:
        to = hide_password(destination)
        if not is_accepted:
            summary.append(f"{to}: no scores, since no run was accepted")
            continue
        try:
            figures[to] = dict(_deliver_scores(night, destination))
            summary.append(f"{to}: " + ", ".join(f"{n:,} {status}" for status, n in figures[to].items()))
        except GarrisonError as error:
            failures.append(str(error))
    if failures:
        raise DeliveryError("; ".join(text.rstrip(".") for text in (*failures, *summary)))
    return StepResult("done", "; ".join(summary), figures)


def report(night: NightContext, steps: Steps) -> StepResult:
    """Write the page of all verdicts, and the report since the last night with alerts; remove what is too old."""
    from monitoring.night import retention
    from monitoring.reports import manager, month_report, overview

    pages = {"overview": str(overview.write_overview(night.settings))}
    removed = retention.apply_retention(night.settings, night.store, night.as_of)
    kept = f"; removed by retention: {removed}" if any(removed.counts.values()) else ""
    figures: dict[str, Any] = {"removed": removed.counts}
    since = night_log.find_previous(night.store, night.as_of, done="alert") or _find_earlier_scores(night)
    if since is None:
        text = f"{pages['overview']}; no earlier scores to report on{kept}"
        return StepResult("done", text, figures | {"pages": pages})
    note = _write_note(steps["gate"].figures)
    pages["report"] = str(manager.run(night.settings, since=since, until=night.as_of, note=note)[1])
    pages |= month_report.write_month(night.settings, night.store, night.as_of, note=note)
    figures |= {"since": since.isoformat(), "pages": pages}
    return StepResult("done", f"since {since:%Y-%m-%d}: {pages['report']}; {pages['overview']}{kept}", figures)


def _has_scores(night: NightContext) -> bool:
    return score_table.find_stored(night.settings, night.as_of) is not None


NIGHT = (
    NightStep("check", check),
    NightStep("build", build, needs=("check",), after=("check",)),
    NightStep("score", score, needs=("build",), after=("build",), has_results=_has_scores),
    NightStep("drift", drift, needs=("score",), after=("score",)),
    NightStep("gate", gate, needs=("score",), after=("score",)),
    NightStep("alert", alert, needs=("gate",), after=("gate",)),
    NightStep("journey", journey, needs=("check",), after=("check",)),
    # It runs even if steps before it failed: a message to the data team is due then most of all.
    NightStep("deliver", deliver, after=("gate", "alert")),
    NightStep("report", report, needs=("score",), after=("gate", "alert")),
)


def _deliver_scores(night: NightContext, to: str) -> Mapping[str, int]:
    """Bring a destination up to date with the night's run; return the number of rows by status."""
    from serving.batch import run
    from serving.delivery import deliver

    frames = run.build_frames(night.settings, _read_scores(night))
    delivered = deliver.deliver(night.settings, night.store, frames, to, progress=night.progress)
    delivered.raise_for_failures()
    return delivered.counts


def _measure_ages(night: NightContext) -> Iterator[tuple[str, float]]:
    """Yield each event table, and the seconds from its newest event to when the data should be up to date."""
    for table in night.history.sources:
        query = f"SELECT max({TABLES[table].time}) AS newest FROM {table}"  # noqa: S608  # the contract's own names
        newest = night.history.query(query)["newest"].iloc[0]
        if pd.notna(newest):
            yield table, max(0.0, (to_micros(night.until) - int(newest)) / 1e6)


def _locate_scores(night: NightContext) -> Path:
    return score_table.file_at(score_table.scores_folder(night.settings), night.as_of)


def _read_scores(night: NightContext) -> ScoreTable:
    return ScoreTable.read(_locate_scores(night))


def _is_alerted(night: NightContext) -> bool:
    """Return whether alerts have been raised on the scores of this night."""
    rows = sa.select(ALERT_RUNS.c.as_of).where(
        ALERT_RUNS.c.target == TARGET, ALERT_RUNS.c.as_of == to_micros(night.as_of)
    )
    with night.store.reading() as connection:
        return connection.execute(rows).first() is not None


def _read_acted_on(night: NightContext) -> JudgedRun | None:
    """Return the night's run with its verdict, if alerts have been raised on it; None if it can still be judged."""
    if not _is_alerted(night):
        return None
    judged = verdict_store.read_history(night.store, before=night.as_of + timedelta(microseconds=1), limit=1)
    return judged[0] if judged and judged[0].verdict.as_of == night.as_of and judged[0].is_accepted else None


def _count_episodes(night: NightContext) -> dict[str, int]:
    """Count the episodes that this night's scores opened, continued and closed."""
    at, table = to_micros(night.as_of), EPISODES.c
    is_new, is_closed = table.opened_as_of == at, table.closed_as_of == at
    goes_on = (table.opened_as_of < at) & (table.closed_as_of.is_(None) | (table.closed_as_of > at))
    with night.store.reading() as connection:
        counts = (connection.scalar(sa.select(sa.func.count()).where(rows)) for rows in (is_new, goes_on, is_closed))
        return dict(zip(("opened", "continued", "closed"), (int(count or 0) for count in counts), strict=True))


def _write_note(judged: Mapping[str, Any]) -> str:
    """Return what the reader of a report should know about the night's scores; "" where all is well."""
    if judged.get("decision") == ACCEPTED:
        return str(judged["note"])
    if "decision" not in judged:
        return "nobody has judged these scores: the gate failed"
    reasons = "; ".join(judged["reasons"])
    return f"these scores are {judged['decision']} and should not be acted on: {reasons}"


def _find_earlier_scores(night: NightContext) -> datetime | None:
    """Return the `as_of` of the newest scores before this night; None without any."""
    earlier = night.as_of - timedelta(microseconds=1)
    scores = night.store.latest_scores(earlier, TARGET, night.settings.alert_horizon)
    return from_micros(scores[0]["as_of"]) if scores else None


def _join(faults: Sequence[str], most: int = 3) -> str:
    more = f" and {len(faults) - most} more" if len(faults) > most else ""
    return "; ".join(faults[:most]) + more
