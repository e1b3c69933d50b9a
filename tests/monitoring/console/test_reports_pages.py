"""The pages of managers and the data team: who sees what, empty and full, and what their acts write."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from features.core.timestamps import to_micros
from features.settings.monitoring import Monitoring
from features.settings.reports import Reports
from features.state.console_tables import CONSOLE_ACTS
from features.state.tables import OUTBOX, RUN_DECISIONS, RUN_VERDICTS
from monitoring.console.app import create_app
from monitoring.performance.proposals import read_proposals
from monitoring.reports.stored_reports import locate_reports
from tests.support.console import sign_in
from tests.support.stored_reports import EVIL, build_report

BOSS, LEAD, DATA, OWNER = "boss@harbour.test", "lead@harbour.test", "data@harbour.test", "a@owners.test"
MANAGERS_PAGES, DATA_PAGES = ("/report", "/owners"), ("/models", "/watch", "/experiments")


@pytest.fixture
def reports(house):
    """Return what writes a report into the company's folder; all are removed after the test."""
    folder = locate_reports(house.settings)
    folder.mkdir(parents=True, exist_ok=True)

    def write(name, plain):
        (folder / f"{name}.json").write_text(json.dumps(plain))

    yield write
    for file in folder.glob("*.json"):
        file.unlink()
    with house.state.writing() as connection:
        for table in (RUN_DECISIONS, RUN_VERDICTS):
            connection.execute(sa.delete(table))


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize("path", [*MANAGERS_PAGES, *DATA_PAGES, "/problems"])
def test_pages_say_what_would_be_there_and_how_to_get_it(client, enter, path):
    enter(DATA if path in DATA_PAGES else BOSS)
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert 'class="empty"' in answer.text
    assert len(answer.content) < 100_000


@pytest.mark.parametrize(("person", "seen"), [(OWNER, ()), (LEAD, MANAGERS_PAGES), (DATA, DATA_PAGES)])
def test_who_may_see_which_page(client, enter, person, seen):
    enter(person)
    for path in (*MANAGERS_PAGES, *DATA_PAGES):
        assert client.get(path).status_code == (200 if path in seen else 403), path


def test_the_report_escapes_names_and_shows_a_lead_the_own_accounts_alone(client, enter, reports):
    reports("2024-12", build_report())
    enter(BOSS)
    page = client.get("/report").text
    assert EVIL not in page
    assert "&lt;img src=x" in page
    assert "95.0 %" in page
    assert "/accounts/D" in page
    enter(LEAD)  # leads b@owners.test
    page = client.get("/report?period=2024-12").text
    assert "/accounts/B" in page
    assert "/accounts/D" not in page
    assert "img src" not in page
    assert client.get("/report?period=2023-01").status_code == 404


@contextmanager
def open_with(house, **sections):
    """Open the console of a company with other sections of settings."""
    context = replace(house.context, settings=house.settings.model_copy(update=sections), attempts={})
    with TestClient(create_app(context), follow_redirects=False) as made:
        yield made


def test_the_report_goes_to_each_reader_once(house, reports):
    reports("2024-12", build_report())
    readers = ("head@harbour.test", "HEAD@harbour.test", "chief@harbour.test")
    with open_with(house, reports=Reports(readers=readers)) as client:
        check_sending(house, client, sign_in(client, house.state, BOSS))


def check_sending(house, client, csrf):
    for sent in ("now", "before"):
        answer = client.post("/report/2024-12/send", data={"csrf": csrf})
        assert answer.headers["location"] == f"/report?period=2024-12&sent={sent}"
    kinds = house.rows(OUTBOX, "kind", "recipient", "state")
    assert kinds == [("report", "chief@harbour.test", "pending"), ("report", "head@harbour.test", "pending")]
    (body,) = {row[0] for row in house.rows(OUTBOX, "body")}
    assert "NRR was 95.0%, GRR 90.0%." in body
    assert "img" not in body
    assert ("send_report", BOSS) in house.rows(CONSOLE_ACTS, "act", "by")
    assert client.post("/report/2023-01/send", data={"csrf": csrf}).status_code == 404


@pytest.mark.usefixtures("reports")
def test_a_held_run_is_released_once_with_a_reason_under_the_persons_name(house, client, enter):
    reasons = [{"kind": "source", "subject": "usage", "state": "hold", "text": "stands still", "figures": {}}]
    at = to_micros(house.context.accounts.as_of)
    row = {"run": "run-1", "as_of": at, "judged_at": at, "judged_until": at, "state": "hold", "reasons": reasons}
    with house.state.writing() as connection:
        connection.execute(sa.insert(RUN_VERDICTS), row | {"figures": {"psi churn_90d": 0.1}, "models": {}})
    csrf = enter(DATA)
    page = client.get("/watch").text
    assert "The newest scores are held" in page
    assert "stands still" in page
    assert client.post("/watch/runs/run-1/release", data={"csrf": csrf, "reason": " "}).status_code >= 400
    assert house.rows(RUN_DECISIONS) == []
    answer = client.post("/watch/runs/run-1/release", data={"csrf": csrf, "reason": "the source was moved"})
    assert answer.headers["location"] == "/watch?done=release"
    again = client.post("/watch/runs/run-1/discard", data={"csrf": csrf, "reason": "no"})
    assert again.status_code == 409
    decided = house.rows(RUN_DECISIONS, "run", "decision", "reason", "decided_by")
    assert decided == [("run-1", "released", "the source was moved", DATA)]
    assert ("decide_run", DATA) in house.rows(CONSOLE_ACTS, "act", "by")
    assert client.post("/watch/runs/other/release", data={"csrf": csrf, "reason": "x"}).status_code == 404
    assert client.post("/watch/runs/run-1/praise", data={"csrf": csrf, "reason": "x"}).status_code == 404


@pytest.mark.parametrize("path", ["/watch/drift/2025-01-01-churn", "/watch/drift/..%2Fgarrison", "/models/churn/card"])
def test_only_pages_of_runs_and_champions_are_served(client, enter, path):
    enter(DATA)
    assert client.get(path).status_code == 404


@pytest.mark.usefixtures("reports")
def test_a_drift_page_runs_in_a_world_of_its_own(house, client, enter):
    at = to_micros(house.context.accounts.as_of)
    row = {"run": "run-2", "as_of": at, "judged_at": at, "judged_until": at, "state": "ok", "reasons": []}
    with house.state.writing() as connection:
        connection.execute(sa.insert(RUN_VERDICTS), row | {"figures": {}, "models": {}})
    name = f"{house.context.accounts.as_of:%Y-%m-%d}-churn"
    file = house.settings.var / "drift" / f"{name}.html"
    file.parent.mkdir(exist_ok=True)
    file.write_text("<script>1</script>")
    try:
        enter(DATA)
        assert f"/watch/drift/{name}" in client.get("/watch").text
        answer = client.get(f"/watch/drift/{name}")
        policy = answer.headers["content-security-policy"]
        assert "sandbox allow-scripts" in policy
        assert "allow-same-origin" not in policy
    finally:
        file.unlink()


def test_a_proposal_to_train_again_is_a_letter_to_the_data_team(house):
    with open_with(house, monitoring=Monitoring(data_team="data@harbour.test")) as client:
        check_proposing(house, client, sign_in(client, house.state, DATA))


def check_proposing(house, client, csrf):
    for _ in range(2):
        answer = client.post("/models/retrain", data={"csrf": csrf, "reason": "prices changed"})
        assert answer.headers["location"] == "/models?proposed=yes"
    (said,) = read_proposals(house.state)
    assert "proposes to train the models again: prices changed" in str(said)
    assert client.post("/models/retrain", data={"csrf": csrf, "reason": ""}).status_code >= 400
    assert ("propose_retraining", DATA) in house.rows(CONSOLE_ACTS, "act", "by")
