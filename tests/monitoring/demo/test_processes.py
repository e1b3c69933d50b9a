"""Commands each from its own start, as where a system does not fork safely; forks are run by test_run.py."""

import os

from monitoring.demo.processes import NewProcesses, wait_until_listening


def test_a_command_tells_its_status_and_what_it_printed():
    with NewProcesses() as processes:
        status, output = processes.run(("serving", "--help"), os.environ, is_captured=True)
    assert status == 0
    assert "Usage: python -m serving" in output


def test_a_server_runs_while_the_context_lasts_and_its_output_is_in_the_log(tmp_path, free_port):
    log, words = tmp_path / "log" / "server.log", ("http.server", str(free_port), "--bind", "127.0.0.1")
    with NewProcesses().run_in_background(words, {**os.environ, "PYTHONUNBUFFERED": "1"}, log):
        wait_until_listening(free_port)
    assert "Serving HTTP" in log.read_text()
