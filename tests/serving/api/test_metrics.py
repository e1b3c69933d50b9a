from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from monitoring.night.metrics import FIGURES
from serving.api import metrics
from serving.api.metrics import Histogram, Metrics, ParityStatus, render_metrics
from serving.api.state import AppState
from serving.batch import run
from serving.pacing import DueTimer
from serving.scoring.score_table import Explain
from tests.support.dashboard import read_queries


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Samples by name and labels, as Prometheus reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.fixture
def state(own_harbour: Any, now: Any) -> Iterator[AppState]:
    run.score_accounts(own_harbour.settings, None, as_of=now, explain=Explain.NONE)
    made = AppState.open(str(own_harbour.config))
    yield made
    assert made.store is not None
    made.store.close()


def test_histogram_counts_each_value_under_its_upper_bound() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.add(value)
    assert histogram.cumulate() == [("0.1", 2.0), ("1.0", 3.0), ("+Inf", 4.0)]
    assert histogram.total == pytest.approx(7.65)


def test_render_metrics_gives_what_was_counted(state: AppState) -> None:
    counted = Metrics()
    counted.record_request("score", 200, 0.0015)
    counted.record_request("score", 200, 0.3)
    counted.record_request("score", 422, 0.0001)
    counted.record_error("invalid")
    counted.record_score("churn_90d", 0.37)
    counted.unseen["churn", "region"] += 2
    found = read(render_metrics(counted, state, ParityStatus()))
    assert found["garrison_requests_total", (("route", "score"), ("status", "200"))] == 2
    assert found["garrison_requests_total", (("route", "score"), ("status", "422"))] == 1
    assert found["garrison_errors_total", (("code", "invalid"),)] == 1
    assert found["garrison_request_seconds_bucket", (("le", "0.002"), ("route", "score"))] == 2
    assert found["garrison_request_seconds_count", (("route", "score"),)] == 3
    assert found["garrison_scores_bucket", (("le", "0.35"), ("score", "churn_90d"))] == 0
    assert found["garrison_scores_bucket", (("le", "0.4"), ("score", "churn_90d"))] == 1
    assert found["garrison_posted_unseen_total", (("column", "region"), ("target", "churn"))] == 2


def test_render_metrics_gives_the_models_and_the_snapshots_age(state: AppState) -> None:
    found = read(render_metrics(Metrics(), state, ParityStatus()))
    versions = {dict(labels)["version"] for name, labels in found if name == "garrison_model_info"}
    assert versions == {"churn-1", "upsell-1"}
    assert state.scoring is not None
    as_of = state.scoring.score_service.snapshot.as_of
    assert as_of is not None
    assert found["garrison_snapshot_age_seconds", ()] == pytest.approx(time.time() - as_of.timestamp(), abs=60)
    assert found["garrison_ready", ()] == 1


def test_every_figure_of_the_service_on_the_dashboard_is_one_that_it_gives(state: AppState) -> None:
    counted = Metrics()
    counted.record_request("score", 200, 0.0015)
    counted.record_error("invalid")
    counted.record_score("churn_90d", 0.37)
    counted.unseen["churn", "region"] += 2
    text = render_metrics(counted, state, ParityStatus(run_at=1, timer=DueTimer(60, time.monotonic()))).decode()
    given = set(re.findall(r"^(garrison_\w+)", text, re.MULTILINE)) | set(re.findall(r"# TYPE (garrison_\w+)", text))
    shown = {name for query in read_queries() for name in re.findall(r"garrison_\w+", query)}
    assert len(shown - set(FIGURES)) > 10
    assert shown - set(FIGURES) <= given


def test_render_metrics_counts_unseen_values_of_the_snapshot(own_harbour: Any, now: Any) -> None:
    accounts = own_harbour.config.with_name("accounts.csv")
    text = accounts.read_text()
    accounts.write_text(text.replace(",north,", ",moon,"))
    run.score_accounts(own_harbour.settings, None, as_of=now, explain=Explain.NONE)
    found = read(render_metrics(Metrics(), AppState.open(str(own_harbour.config)), ParityStatus()))
    expected = text.count(",north,")
    assert expected > 0
    for target in ("churn", "upsell"):
        assert found["garrison_snapshot_unseen", (("column", "region"), ("target", target))] == expected


def test_render_metrics_works_without_a_model(own_harbour: Any) -> None:
    (own_harbour.settings.paths.mlruns / "small-harbour-promotions.jsonl").unlink()
    found = read(render_metrics(Metrics(), AppState.open(str(own_harbour.config)), ParityStatus()))
    assert found["garrison_ready", ()] == 0


def test_sum_workers_adds_all_workers_of_one_server(
    tmp_path: Path, state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Metrics(tmp_path), Metrics(tmp_path)
    for counted, pid, seconds in ((one, 1, 0.003), (other, 2, 0.3)):
        monkeypatch.setattr(metrics.os, "getpid", lambda pid=pid: pid)
        counted.record_request("score", 200, seconds)
        counted.record_error("invalid")
        counted.save()
    (tmp_path / f"{os.getppid() + 1}-9.json").write_text("another server's")
    found = read(render_metrics(other, state, ParityStatus()))
    assert found["garrison_requests_total", (("route", "score"), ("status", "200"))] == 2
    assert found["garrison_errors_total", (("code", "invalid"),)] == 2
    assert found["garrison_request_seconds_bucket", (("le", "0.004"), ("route", "score"))] == 1
    assert found["garrison_request_seconds_sum", (("route", "score"),)] == pytest.approx(0.303)


def test_sum_workers_ignores_half_a_file(tmp_path: Path) -> None:
    counted = Metrics(tmp_path)
    counted.record_error("invalid")
    (tmp_path / f"{os.getppid()}-1.json").write_text(json.dumps({"requests": []})[:5])
    assert counted.sum_workers().errors["invalid",] == 1


def test_parity_status_is_read_once_a_minute(state: AppState) -> None:
    parity = ParityStatus()
    assert "garrison_parity_mismatches" not in render_metrics(Metrics(), state, parity).decode()
    assert state.store is not None
    for run_at, mismatches in ((1_000_000, 0), (3_000_000, 4)):
        with state.store.writing() as connection:
            connection.execute(
                sa.text("INSERT INTO parity_runs (run_at, checked, mismatches) VALUES (:run_at, 200, :mismatches)"),
                {"run_at": run_at, "mismatches": mismatches},
            )
    assert "garrison_parity_mismatches" not in render_metrics(Metrics(), state, parity).decode()
    parity.timer = DueTimer(metrics.PARITY_READ_SECONDS)  # due at once
    found = read(render_metrics(Metrics(), state, parity))
    assert (found["garrison_parity_mismatches", ()], found["garrison_parity_checked", ()]) == (4, 200)
    assert found["garrison_parity_run_timestamp_seconds", ()] == 3
