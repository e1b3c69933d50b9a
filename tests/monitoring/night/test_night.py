"""The night as a process: undisturbed, killed at every step, on hold, failed, repeated; and what it sends."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from features.core.errors import GarrisonError
from features.state import database
from features.state.locks import Lock, try_lock
from monitoring.night import metrics
from monitoring.night.night import choose_instants, run_night
from monitoring.night.night_log import STEPS
from tests.monitoring.night.conftest import NightScene, open_scene
from tests.support.night_process import POINTS, EndedNight, NightProcesses
from tests.support.night_state import count_mails, find_difference, read_state

AT = "2026-01-01"


@dataclass(frozen=True)
class Undisturbed:
    """A night that nothing disturbed, and the spans that it sent to a collector, by name."""

    scene: NightScene
    night: EndedNight
    spans: dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(
    seasoned: Path, tmp_path_factory: pytest.TempPathFactory, processes: NightProcesses
) -> Iterator[Undisturbed]:
    """One night for several tests, which only look at it."""
    received: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            received.extend(span for r in request.resource_spans for s in r.scope_spans for span in s.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        with open_scene(seasoned, tmp_path_factory.mktemp("undisturbed") / "company") as scene:
            words = ("night", "--as-of", AT, "--json", "night.json")
            night = processes.run(scene.company.folder, *words, env=environment)
            server.shutdown()
            yield Undisturbed(scene, night, {span.name: span for span in received})


@pytest.fixture
def run(processes: NightProcesses) -> Callable[..., EndedNight]:
    """Run the night of `AT` on a scene."""

    def run_words(scene: NightScene, *words: str, **how: Any) -> EndedNight:
        return processes.run(scene.company.folder, "night", *(words or ("--as-of", AT)), **how)

    return run_words


def states(night: EndedNight) -> dict[str, str]:
    """Return each step's state, from what was printed."""
    return dict(re.findall(r"^  (\w+) +(done|skipped|failed)\b", night.out, re.MULTILINE))


def repeated(night: EndedNight) -> list[str]:
    """Return the steps that ran now, from what was printed."""
    return re.findall(r"^  (\w+) +\w+ +[\d.]+ s\b", night.out, re.MULTILINE)


def read_json(scene: NightScene) -> dict[str, Any]:
    """Return what `--json night.json` wrote."""
    return json.loads((scene.company.folder / "night.json").read_text(encoding="utf-8"))


def stop_usage(scene: NightScene, day: str) -> None:
    """Cut the usage off at a day."""
    file = scene.company.folder / "usage.csv"
    rows = pd.read_csv(file, dtype=str)
    rows[rows["used_at"] < day].to_csv(file, index=False)


def test_a_night_prints_a_line_a_step_and_writes_the_same_for_machines(undisturbed: Undisturbed) -> None:
    night = undisturbed.night
    assert (night.status, night.err) == (0, "")
    first, *lines, last = night.out.splitlines()
    assert (first, last) == ("The night of 2026-01-01", "The night of 2026-01-01 is done.")
    assert [line.split()[:2] for line in lines] == [[step, "done"] for step in STEPS]
    data = read_json(undisturbed.scene)
    assert (data["state"], data["repeated"], list(data["steps"])) == ("done", False, list(STEPS))
    assert data["steps"]["score"]["figures"]["accounts"] == 60
    assert data["steps"]["deliver"]["figures"]["messages"]["sent"] > 3
    assert all(step["attempts"] == 1 and step["seconds"] > 0 for step in data["steps"].values())
    text = metrics.locate_figures(undisturbed.scene.company.settings).read_text(encoding="utf-8")
    assert set(metrics.FIGURES) == set(re.findall(r"^(garrison_\w+)", text, re.MULTILINE))


def test_a_night_and_its_steps_are_spans_where_a_collector_is_named(undisturbed: Undisturbed) -> None:
    spans = undisturbed.spans
    assert set(spans) == {"night", *STEPS}
    assert {span.parent_span_id for name, span in spans.items() if name != "night"} == {spans["night"].span_id}
    for span in spans.values():
        values = {attribute.key: attribute.value.string_value for attribute in span.attributes}
        assert values == {"garrison.as_of": "2026-01-01T00:00:00+00:00", "garrison.state": "done"}


def test_a_second_run_of_the_same_night_does_nothing_and_says_so(
    undisturbed: Undisturbed, run: Callable[..., EndedNight]
) -> None:
    scene = undisturbed.scene
    before, mails = read_state(scene.company), count_mails(scene.mails)
    again = run(scene, "--as-of", AT, "--json", "again.json")
    assert (again.status, again.err) == (0, "")
    line = r"The night of 2026-01-01 was done already, at [-\d]+ [:\d]+ UTC: nothing to do\.\n"
    assert re.fullmatch(line, again.out)
    data = json.loads((scene.company.folder / "again.json").read_text(encoding="utf-8"))
    assert (data["state"], data["repeated"]) == ("done", True)
    assert find_difference(before, read_state(scene.company)) == []
    assert count_mails(scene.mails) == mails


def test_killed_at_every_step_in_turn_it_ends_as_an_undisturbed_one_and_sends_nothing_twice(
    undisturbed: Undisturbed, scene: NightScene, run: Callable[..., EndedNight]
) -> None:
    for step in STEPS:
        for point in POINTS:
            cut = run(scene, kill_at=(step, point))
            assert cut.status is None, f"not killed at {step}, {point}: {cut.out}{cut.err}"
    last = run(scene, "--as-of", AT, "--json", "night.json")
    assert last.status == 0, last.out + last.err

    assert find_difference(read_state(undisturbed.scene.company), read_state(scene.company)) == []
    mails = count_mails(scene.mails)
    assert mails == count_mails(undisturbed.scene.mails)
    assert len(mails) > 3
    assert set(mails.values()) == {1}
    # Killed as it began, then when its work was done, then when that was stored: what is stored is not repeated.
    assert {step["attempts"] for step in read_json(scene)["steps"].values()} == {3}


def test_two_nights_at_once_are_refused(undisturbed: Undisturbed) -> None:
    settings = undisturbed.scene.company.settings
    with database.open(settings) as store, try_lock(store.engine, Lock.NIGHT) as is_held:
        assert is_held
        with pytest.raises(GarrisonError, match="another night is running"):
            run_night(settings)


def test_a_night_scores_the_last_midnight_and_wants_data_up_to_now_unless_an_instant_is_asked_for() -> None:
    now, noon = datetime(2026, 1, 2, 3, 4, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert choose_instants(None, now=now) == (datetime(2026, 1, 2, tzinfo=UTC), now)
    assert choose_instants(noon, now=now) == (noon, noon)
    with pytest.raises(GarrisonError, match="can't look from the future"):
        choose_instants(now + timedelta(minutes=1), now=now)


def test_on_hold_nothing_goes_out_but_one_message_to_the_data_team_until_somebody_decides(
    scene: NightScene, processes: NightProcesses, run: Callable[..., EndedNight]
) -> None:
    stop_usage(scene, "2025-11-20")
    crm = (scene.company.folder / "scores.csv").read_text(encoding="utf-8")
    for _ in range(2):
        night = run(scene, "--as-of", AT, "--json", "night.json")
        assert night.status == 1
        assert re.match(r"error: The night of 2026-01-01 is on hold\. found: hold, held: usage:", night.err), night.err
        assert "python -m monitoring release" in night.err
        assert states(night) == dict.fromkeys(STEPS, "done") | {"alert": "skipped"}
        assert (scene.company.folder / "scores.csv").read_text(encoding="utf-8") == crm
        [(recipient, _)] = count_mails(scene.mails).elements()
        assert recipient == "data@harbour.test"
    # The verdict is taken again, since data may have been mended, and so is what follows from it.
    assert repeated(night) == ["gate", "alert", "deliver", "report"]
    [page] = (scene.company.settings.var / "reports").glob("*.html")
    assert "these scores are held and should not be acted on: usage" in page.read_text(encoding="utf-8")

    name = read_json(scene)["steps"]["gate"]["figures"]["run"]
    assert processes.run(scene.company.folder, "release", name, "--reason", "a holiday").status == 0
    last = run(scene)
    assert (last.status, last.err) == (0, "")
    assert states(last) == dict.fromkeys(STEPS, "done")
    assert repeated(last) == ["gate", "alert", "deliver", "report"]
    assert (scene.company.folder / "scores.csv").read_text(encoding="utf-8") != crm
    mails = count_mails(scene.mails)
    assert len(mails) > 3
    assert set(mails.values()) == {1}
    assert "was done already" in run(scene).out


def test_a_mended_source_is_scored_again_and_a_failed_step_alone_is_repeated(
    scene: NightScene, run: Callable[..., EndedNight]
) -> None:
    usage = scene.company.folder / "usage.csv"
    whole = usage.read_bytes()
    stop_usage(scene, "2025-11-20")
    assert run(scene).status == 1
    usage.write_bytes(whole)
    # The CRM's database is a folder now: nothing can be written there.
    crm = scene.company.folder / "crm.db"
    crm.rename(crm.with_suffix(".old"))
    crm.mkdir()
    night = run(scene)
    assert night.status == 1
    assert re.match(r"error: The night of 2026-01-01 failed\. found: deliver: .*crm\.db", night.err), night.err
    assert states(night) == dict.fromkeys(STEPS, "done") | {"deliver": "failed"}
    assert repeated(night) == list(STEPS)
    # What could be delivered was.
    assert AT in (scene.company.folder / "scores.csv").read_text(encoding="utf-8")
    sent = count_mails(scene.mails)
    assert len(sent) > 3

    crm.rmdir()
    crm.with_suffix(".old").rename(crm)
    again = run(scene)
    assert (again.status, again.err) == (0, "")
    assert repeated(again) == ["deliver"]
    assert count_mails(scene.mails) == sent


def test_once_alerts_are_out_the_run_stays_the_nights_even_if_its_inputs_change(
    scene: NightScene, run: Callable[..., EndedNight]
) -> None:
    assert run(scene, kill_at=("alert", "worked")).status is None
    before = read_state(scene.company)
    file = scene.company.folder / "purchases.csv"
    file.write_text(file.read_text() + "A-001,2025-12-30T00:00:00+00:00,77\n", encoding="utf-8")
    night = run(scene, "--as-of", AT, "--json", "night.json")
    assert (night.status, night.err) == (0, "")
    assert repeated(night) == list(STEPS)
    assert "kept: its alerts have been raised" in night.out
    after = read_state(scene.company)
    assert after["scores"] == before["scores"]
    # Delivery marked them as told, which counts as a version; nothing else about them changed.
    kept, found = (
        [row.replace("'open'", "'notified'").rpartition(",")[0] for row in s["episodes"]] for s in (before, after)
    )
    assert sorted(found) == sorted(kept)
    assert set(count_mails(scene.mails).values()) == {1}
