"""Run the steps of one night in their order, each once: what a killed night has finished is not repeated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any

from features.core.errors import GarrisonError
from features.core.progress import Progress, ignore
from features.core.tracing import SpanRecorder
from features.settings import Settings
from features.state import database
from features.state.locks import Lock, try_lock
from monitoring.night import metrics, night_log
from monitoring.night.context import NightContext
from monitoring.night.night_log import HELD, LoggedStep, NightLog, StepResult
from monitoring.night.night_report import NightReport, read_night
from monitoring.night.steps import NIGHT, NightStep

_log = logging.getLogger("garrison.night")
Say = Callable[[str], None]
# A step whose result stands: it is not repeated as long as its inputs are the same.
_FINAL = ("done", "skipped")


def run_night(
    settings: Settings, *, as_of: datetime | None = None, say: Say = print, progress: Progress = ignore
) -> NightReport:
    """Run the night of `as_of` to its end, or what is left of it.

    Each step's state is in the state database before it begins and after it ends. A step that is done is not repeated
    unless the night's inputs have changed; one that was cut off or failed begins anew, and does no harm twice.

    Args:
        settings: The company's.
        as_of: The instant to score, which identifies the night; by default the last midnight UTC. Where it is given,
            the data need only be up to date by then.
        say: Called with one line a step.
        progress: Called as a step goes on.

    Raises:
        GarrisonError: Another night is running, `as_of` lies in the future, or the state database can't be used.
    """
    night, until = choose_instants(as_of, now=datetime.now(UTC))
    spans = SpanRecorder.open("garrison-night")
    with closing(database.open(settings)) as store:
        with try_lock(store.engine, Lock.NIGHT) as is_held:
            if not is_held:
                raise GarrisonError("another night is running", hint="Wait until it has ended")
            context = NightContext(settings, store, night, until, progress)
            with closing(context), _record_span(spans, "night", night) as added:
                report = _run_steps(context, say, spans)
                added["garrison.state"] = report.state
        if report.state == "done":
            say(report.last_line)
        metrics.write_figures(settings, store, report)
    if spans is not None:
        spans.close()
    return report


def choose_instants(as_of: datetime | None, *, now: datetime) -> tuple[datetime, datetime]:
    """Return the instant that a night scores, and that at which its data should be up to date.

    Args:
        as_of: As it was asked for; None for the last midnight UTC, with data up to date now.
        now: The clock's.

    Raises:
        GarrisonError: It lies in the future.
    """
    if as_of is None:
        return datetime.combine(now.date(), time(), UTC), now
    if as_of > now:
        found = as_of.isoformat(timespec="minutes")
        raise GarrisonError("a night can't look from the future", found=found, hint="Give an earlier --as-of")
    return as_of, as_of


def _run_steps(context: NightContext, say: Say, spans: SpanRecorder | None) -> NightReport:
    """Run those steps of a night that are not done."""
    log = NightLog(context.store, context.as_of)
    before = NightReport(context.as_of, log.read())
    if before.is_closed:
        return NightReport(context.as_of, before.steps, is_repeated=True)
    say(f"The night of {context.as_of:%Y-%m-%d}{': it goes on where it was left' if before.steps else ''}")
    replaced = night_log.find_previous(context.store, context.as_of)
    if replaced is not None and read_night(context.store, replaced).state == "unfinished":
        say(f"The night of {replaced:%Y-%m-%d} was cut off and is not finished any more: this one takes its place.")
    steps: dict[str, LoggedStep] = {}
    repeated: set[str] = set()
    for position, step in enumerate(NIGHT):
        logged = before.steps.get(step.name)
        is_final = logged is not None and logged.state in _FINAL and logged.figures.get("decision") != HELD
        is_usable = is_final and not repeated & set(step.after) and step.has_results(context)
        if logged is not None and is_usable and _has_same_inputs(logged, context):
            say(_format_line(logged, "as before"))
        else:
            repeated.add(step.name)
            logged = _run_logged(step, position, context, steps, log, spans)
            say(_format_line(logged, f"{logged.seconds:.1f} s"))
        steps[step.name] = logged
    return NightReport(context.as_of, steps)


def _run_logged(  # noqa: PLR0913, PLR0917  # what surrounds one step
    step: NightStep,
    position: int,
    context: NightContext,
    steps: Mapping[str, LoggedStep],
    log: NightLog,
    spans: SpanRecorder | None,
) -> LoggedStep:
    """Run one step between its two entries in the log; return its entry."""
    log.begin(step.name, position)
    with _record_span(spans, step.name, context.as_of) as added:
        result = _run(step, context, steps)
        added["garrison.state"] = result.state
        if result.state == "failed":
            added["error"] = "see the night's log"  # an error's text may hold data, which stay here
    log.end(step.name, result)
    return log.read()[step.name]


def _run(step: NightStep, context: NightContext, steps: Mapping[str, LoggedStep]) -> StepResult:
    """Run one step; an error becomes its result, so that the steps that don't need it still run."""
    missing = [name for name in step.needs if steps[name].state != "done"]
    if missing:
        return StepResult("skipped", f"{' and '.join(missing)} was not done")
    try:
        result = step.run(context, steps)
        return replace(result, figures={**result.figures, "inputs": context.inputs})
    except (GarrisonError, OSError) as error:
        return StepResult("failed", " ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001  # the steps that don't need this one still run
        _log.exception("the step %s failed", step.name)
        return StepResult("failed", f"internal error (logged): {type(error).__name__}")


def _has_same_inputs(logged: LoggedStep, context: NightContext) -> bool:
    try:
        return logged.figures.get("inputs") == context.inputs
    except (GarrisonError, OSError):  # the step `check` will say what it is
        return False


def _format_line(step: LoggedStep, note: str) -> str:
    return f"  {step.step:<8} {step.state:<8} {note:>10}  {step.summary}"


@contextmanager
def _record_span(spans: SpanRecorder | None, name: str, as_of: datetime) -> Iterator[dict[str, Any]]:
    """Record a span around some work, if spans are recorded; yield what to say of it at its end."""
    if spans is None:
        yield {}
        return
    with spans.record_work(name, {"garrison.as_of": as_of.isoformat()}) as added:
        yield added
