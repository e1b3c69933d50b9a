"""Several processes serve the console, and none outlives the one that looks after them."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from monitoring.console import server
from tests.support.ports import find_free_port
from tests.support.scored_company import write_company, write_scores
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]


def list_workers(pid):
    """List the processes below one that serve, by what started them."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_gone(pid):
    """Return whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def file(tmp_path):
    """A small company that was scored, by its settings file."""
    settings = write_company(tmp_path, [{"id": "A1", "name": "Beacon"}, {"id": "A2", "name": "Fjord"}])
    write_scores(settings, [{"account_id": name, "churn_90d": 0.2} for name in ("A1", "A2")])
    return tmp_path / "garrison.toml"


def test_processes_share_the_port_and_none_outlives_the_one_that_looks_after_them(file):
    port = find_free_port()
    command = [sys.executable, "-m", "monitoring", "console", "--port", str(port), "--workers", "2"]
    with subprocess.Popen([*command, "--config", str(file)], cwd=ROOT, stdout=subprocess.DEVNULL) as process:

        def answers():
            try:
                return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
            except httpx.TransportError:
                return False

        try:
            wait_until(answers, seconds=60)
            workers = list_workers(process.pid)
            assert len(workers) == 2
        finally:
            process.kill()
    for worker in workers:
        wait_until(lambda worker=worker: is_gone(worker), seconds=60)
    assert not answers()


def test_a_process_that_cannot_read_the_accounts_says_why_and_is_not_started_again(file, capsys):
    (file.parent / "accounts.csv").unlink()
    with pytest.raises(SystemExit) as ended:
        server.open_worker(file, "http://127.0.0.1:3001")
    assert ended.value.code == server.STARTUP_FAILURE
    assert "accounts.csv" in capsys.readouterr().err
