"""Write the night's figures for Prometheus, as a file that the node exporter's textfile collector reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from features.core.timestamps import to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import EPISODES, OUTBOX
from monitoring.night.night_report import NightReport, find_last_success
from monitoring.notifications.outbox import NEEDS_ATTENTION
from serving.gate.verdict import STATES

_log = logging.getLogger("garrison.night")

# Every figure: its name, what it is, and its labels beside the company's.
FIGURES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "garrison_night_as_of_timestamp_seconds": ("The instant that the last night scored, Unix time.", ()),
    "garrison_night_run_timestamp_seconds": ("When the last night ended, Unix time.", ()),
    "garrison_night_success_timestamp_seconds": ("When a night was last done to its end, Unix time.", ()),
    "garrison_night_done": ("Whether the last night was done: neither failed nor on hold.", ()),
    "garrison_night_step_seconds": ("Time that a step took.", ("step",)),
    "garrison_night_step_failed": ("Whether a step failed.", ("step",)),
    "garrison_night_verdict": ("The verdict on the night's run: 0 ok, 1 watch, 2 hold.", ()),
    "garrison_night_accounts_scored": ("Accounts that the night scored.", ()),
    "garrison_source_age_seconds": ("From a source's newest event to the night.", ("source",)),
    "garrison_episodes_open": ("Accounts at risk: open episodes.", ()),
    "garrison_outbox_waiting": ("Messages that wait to be sent.", ()),
    "garrison_outbox_stuck": ("Messages that wait for a person: failed, bounced or without a recipient.", ()),
}
Figures = Iterator[tuple[str, tuple[str, ...], float]]


def locate_figures(settings: Settings) -> Path:
    """Return the file of the figures; its folder is for the textfile collector."""
    return settings.var / "metrics" / "garrison.prom"


def write_figures(settings: Settings, store: Store, report: NightReport) -> Path | None:
    """Write the figures of a night, whole or not at all.

    A night is worth more than its figures: an error here is logged, and nothing else.

    Args:
        settings: The company's.
        store: Its state database.
        report: The night.

    Returns:
        The file; None where it could not be written.
    """
    file = locate_figures(settings)
    try:
        registry = CollectorRegistry()
        company = settings.company.slug
        gauges = {
            name: Gauge(name, text, ("company", *labels), registry=registry) for name, (text, labels) in FIGURES.items()
        }
        for name, labels, value in _measure(store, report):
            gauges[name].labels(company, *labels).set(value)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(file), registry)
        file.chmod(0o644)  # for Prometheus' node exporter, another user; it is about no person
    except Exception:  # noqa: BLE001  # whatever it is
        _log.exception("the figures for Prometheus could not be written to %s", file)
        return None
    return file


def _measure(store: Store, report: NightReport) -> Figures:
    """Yield each figure's name, labels and value; what a failed night did not come to is left out."""
    steps = report.steps
    yield "garrison_night_as_of_timestamp_seconds", (), to_micros(report.as_of) / 1e6
    yield "garrison_night_run_timestamp_seconds", (), report.ended_at / 1e6
    yield "garrison_night_done", (), float(report.state == "done")
    success = find_last_success(store, report.as_of)
    if success is not None:
        yield "garrison_night_success_timestamp_seconds", (), success.ended_at / 1e6
    for name, step in steps.items():
        yield "garrison_night_step_seconds", (name,), step.seconds
        yield "garrison_night_step_failed", (name,), float(step.state == "failed")
    figures: dict[str, Any] = {name: step.figures for name, step in steps.items()}
    for source, seconds in figures.get("check", {}).get("ages", {}).items():
        yield "garrison_source_age_seconds", (source,), seconds
    if "verdict" in figures.get("gate", {}):
        yield "garrison_night_verdict", (), float(STATES.index(figures["gate"]["verdict"]))
    if "accounts" in figures.get("score", {}):
        yield "garrison_night_accounts_scored", (), figures["score"]["accounts"]
    yield from _count_waiting(store)


def _count_waiting(store: Store) -> Figures:
    """Yield the numbers of open episodes and of messages that were not sent."""
    episodes = sa.select(sa.func.count()).select_from(EPISODES).where(EPISODES.c.closed_as_of.is_(None))
    states = sa.select(OUTBOX.c.state, sa.func.count().label("number")).group_by(OUTBOX.c.state)
    with store.reading() as connection:
        yield "garrison_episodes_open", (), connection.scalar(episodes) or 0
        messages = {row.state: row.number for row in connection.execute(states)}
    yield "garrison_outbox_waiting", (), messages.get(PENDING, 0)
    yield "garrison_outbox_stuck", (), sum(messages.get(state, 0) for state in NEEDS_ATTENTION)
