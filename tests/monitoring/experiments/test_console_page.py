"""The console's page of an experiment: what the command says, and a stop by rule alone."""

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from features.settings.console import ConsoleSettings
from features.settings.load import load_settings
from features.state.experiment_tables import EXPERIMENTS
from monitoring.console.app import create_app
from monitoring.console.context import ConsoleContext
from tests.support.console import sign_in
from tests.support.lots import simulate_draws, write_experiment
from tests.support.waiting import wait_until

DATA = "data@harbour.test"


@pytest.fixture
def client(company):
    write_experiment(company, simulate_draws(0.25, units=40, seed=4), band=5)
    console = ConsoleSettings(roles={"data_scientist": (DATA,)})
    settings = load_settings(company.file).model_copy(update={"console": console})
    with TestClient(create_app(ConsoleContext(settings, company.state, None, None)), follow_redirects=False) as made:
        yield made


def test_the_page_shows_the_look_and_stops_by_rule_alone(company, client):
    csrf = sign_in(client, company.state, DATA)
    assert "The figures are being made" in client.get("/experiments").text  # no request waits for them
    wait_until(lambda: "Power so far" in client.get("/experiments").text, seconds=60)
    page = client.get("/experiments").text
    for part in ("Do alerts save accounts?", 'class="band"', "Power so far", "Balance at the draw", "Not to be said"):
        assert part in page, part
    assert len(page) < 100_000
    answer = client.post("/experiments/stop", data={"csrf": csrf, "reason": "it is clear"})
    with company.state.reading() as connection:
        rule = connection.scalar(sa.select(EXPERIMENTS.c.stop_rule))
    assert (answer.status_code, rule) == (303, "every question is answered")
    wait_until(lambda: "Power so far" in client.get("/experiments").text, seconds=60)
    assert client.post("/experiments/stop", data={"csrf": csrf, "reason": "again"}).status_code == 409
