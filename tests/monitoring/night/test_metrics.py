"""The night's figures for Prometheus: what is written, what the dashboard shows of it, and that it stops no night."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from features.core.timestamps import to_micros
from monitoring.night import metrics
from monitoring.night.night_log import NightLog, StepResult
from monitoring.night.night_report import NightReport, read_night
from monitoring.night.steps import NIGHT
from tests.support.dashboard import read_queries

AT = datetime(2024, 6, 1, tzinfo=UTC)


def log_night(company: Any, at: datetime = AT, *, decision: str = "accepted", failed: str = "") -> NightReport:
    """Write the log of a night, as if it had run."""
    figures: dict[str, dict[str, Any]] = {
        "check": {"ages": {"usage": 3600.0, "purchases": 90000.0}},
        "score": {"accounts": 1728, "run": "r"},
        "gate": {"verdict": "hold" if decision == "held" else "watch", "decision": decision, "run": "r"},
    }
    log = NightLog(company.state, at)
    for position, step in enumerate(NIGHT):
        log.begin(step.name, position)
        state = "failed" if step.name == failed else "done"
        log.end(step.name, StepResult(state, "as it was", figures.get(step.name, {})))  # type: ignore[arg-type]  # one of them
    return read_night(company.state, at)


def read(file: Path | None) -> dict[tuple[str, ...], float]:
    """Return the samples by name and labels, the company apart."""
    assert file is not None
    samples = [s for family in text_string_to_metric_families(file.read_text()) for s in family.samples]
    assert {s.labels.pop("company") for s in samples} == {"harbour"}
    return {(s.name, *s.labels.values()): s.value for s in samples}


def test_all_figures_are_written_where_the_collector_reads_them(company: Any) -> None:
    company.score("2024-06-01", dict.fromkeys("ABC", 0.7))
    company.alert("2024-06-01")
    file = metrics.write_figures(company.settings, company.state, log_night(company))
    assert file == company.settings.var / "metrics/garrison.prom"
    assert [path.name for path in file.parent.iterdir()] == ["garrison.prom"]
    found = read(file)
    assert {name for name, *_ in found} == set(metrics.FIGURES)
    assert found["garrison_source_age_seconds", "purchases"] == 90000
    assert found["garrison_night_verdict",] == 1
    assert found["garrison_night_accounts_scored",] == 1728
    assert found["garrison_night_done",] == 1
    assert found["garrison_night_as_of_timestamp_seconds",] == to_micros(AT) / 1e6
    assert (found["garrison_episodes_open",], found["garrison_outbox_waiting",]) == (3, 3)
    assert {labels[0] for name, *labels in found if name == "garrison_night_step_seconds"} == {s.name for s in NIGHT}


@pytest.mark.parametrize("how", [{"decision": "held"}, {"failed": "deliver"}])
def test_a_night_that_is_not_done_leaves_the_last_success_as_it_was(company: Any, how: dict[str, str]) -> None:
    done = read(metrics.write_figures(company.settings, company.state, log_night(company)))
    bad = log_night(company, datetime(2024, 6, 2, tzinfo=UTC), **how)  # type: ignore[arg-type]  # as above
    found = read(metrics.write_figures(company.settings, company.state, bad))
    success = ("garrison_night_success_timestamp_seconds",)
    assert found[success] == done[success]
    assert found["garrison_night_done",] == 0
    assert found["garrison_night_run_timestamp_seconds",] >= found[success]
    assert found["garrison_night_step_failed", "deliver"] == (how.get("failed") == "deliver")


def test_figures_that_can_not_be_written_are_logged_and_stop_no_night(
    company: Any, caplog: pytest.LogCaptureFixture
) -> None:
    company.settings.var.mkdir(parents=True, exist_ok=True)
    (company.settings.var / "metrics").write_text("no folder")
    assert metrics.write_figures(company.settings, company.state, log_night(company)) is None
    assert "could not be written" in caplog.text


def test_every_figure_of_the_night_is_on_the_dashboard() -> None:
    shown = {name for query in read_queries() for name in re.findall(r"garrison_\w+", query)}
    assert set(metrics.FIGURES) <= shown
