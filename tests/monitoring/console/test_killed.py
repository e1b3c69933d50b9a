"""An act in a console that is really killed in its midst: done or not done, and done when it is repeated."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import sqlalchemy as sa

from features.state.console_tables import CONSOLE_ACTS
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.console.sign_in import mail_links
from monitoring.lifetime.submitted_forms import make_key
from tests.support.console import ConsoleCompany, read_token
from tests.support.ports import find_free_port
from tests.support.stalled_writes import stall_sqlite
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]


@contextmanager
def run_console(company):
    """Run the console as a process of its own; yields it and a browser that owner a is signed in with."""
    port = find_free_port()
    words = ["console", "--port", str(port), "--config", str(company.settings.file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (company.folder / "console.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitoring", *words], cwd=company.folder, env=environment, stdout=log, stderr=log
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            try:
                wait_until(lambda: is_healthy(client))
                link = mail_links.create_link(company.state, "a@owners.test", "/me", minutes=15)
                path = mail_links.PATH + link
                client.post(path, data={"csrf": read_token(client.get(path).text)})
                yield process, client
            finally:
                process.kill()
                process.wait(20)


def is_healthy(client):
    with suppress(httpx.TransportError):
        return client.get("/healthz").status_code == 200
    return False


def read_act(company):
    episodes = company.rows(EPISODES, "state", "version", "acknowledged_by")
    acts = [by for act, by in company.rows(CONSOLE_ACTS, "act", "by") if act == "acknowledge"]
    return episodes, len(company.rows(EPISODE_EVENTS)), acts


def test_an_act_killed_in_its_midst_is_not_done_and_repeated_it_is(tmp_path):
    company = ConsoleCompany(tmp_path)
    episode = company.open_episode("A", owner="a@owners.test", cause="service")
    address = f"/inbox/{episode}/acknowledge"
    with run_console(company) as (process, client):
        form = {"csrf": read_token(client.get("/inbox").text), "form": make_key(), "version": "1"}

        def act():
            with suppress(httpx.TransportError):
                client.post(address, data=form)

        with stall_sqlite(company, "console_acts") as is_writing:
            acting = threading.Thread(target=act)
            acting.start()
            wait_until(is_writing)
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            acting.join(30)
    assert read_act(company) == ([("notified", 1, None)], 0, [])
    with run_console(company) as (_, client):
        form = {"csrf": read_token(client.get("/inbox").text), "form": make_key(), "version": "1"}
        assert client.post(address, data=form).status_code == 303
    assert read_act(company) == ([("acknowledged", 2, "a@owners.test")], 1, ["a@owners.test"])
    with company.state.reading() as connection:
        assert connection.scalar(sa.text("PRAGMA integrity_check")) == "ok"
    company.close()
