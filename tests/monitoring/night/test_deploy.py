"""The examples for cron, systemd, Kubernetes, Airflow and Dagster are what those read, and call commands that exist."""

from __future__ import annotations

import configparser
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import yaml
from typer.testing import CliRunner

from monitoring.garrison import create_app

FOLDER = Path(__file__).parents[3] / "docs/examples/deploy"
NIGHT = ["garrison", "monitoring", "night"]


def check_command(words: list[str]) -> list[str]:
    """Check that a command exists and has the options given; return its first three words."""
    assert words[0].rpartition("/")[2] == "garrison", words
    result = CliRunner().invoke(create_app(), [*words[1:3], "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for option in (word for word in words if word.startswith("--")):
        assert option in result.output, option
    return ["garrison", *words[1:3]]


def split_shell(line: str) -> list[str]:
    """Return the words of the one call of `garrison` in a line of shell, without redirections."""
    [call] = [part for part in re.split(r"&&|;", line) if part.split()[0].rpartition("/")[2] == "garrison"]
    return shlex.split(re.sub(r">.*", "", call))


def read_unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names as they are written
    unit.read(FOLDER / name, encoding="utf-8")
    return unit


def test_the_lines_of_cron_call_the_night_and_the_delivery() -> None:
    lines = (FOLDER / "garrison.cron").read_text(encoding="utf-8").splitlines()
    jobs = [line.split(None, 6) for line in lines if line and not line.startswith("#") and not re.match(r"\w+=", line)]
    assert len(jobs) == 3
    for *times, user, command in jobs:
        assert all(re.fullmatch(r"[\d*/,-]+", time) for time in times)
        assert (len(times), user) == (5, "garrison")
        assert "%" not in command  # cron would end the line there
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0
    assert [check_command(split_shell(command)) for *_, command in jobs] == [NIGHT, NIGHT, [*NIGHT[:2], "deliver"]]


def test_the_units_of_systemd_run_the_night_as_its_timer_says() -> None:
    service, timer = read_unit("garrison-night.service"), read_unit("garrison-night.timer")
    assert check_command(shlex.split(service["Service"]["ExecStart"])) == NIGHT
    assert (service["Service"]["Type"], service["Service"]["Restart"]) == ("oneshot", "on-abnormal")
    assert re.fullmatch(r"\*-\*-\* \d\d:\d\d:00 UTC", timer["Timer"]["OnCalendar"])
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"


def render_chart(name: str) -> list[dict[str, Any]]:
    """Return the objects of one template of the chart; its templates use nothing but plain values."""
    values = yaml.safe_load((FOLDER / "helm/garrison/values.yaml").read_text(encoding="utf-8"))

    def find(match: re.Match[str]) -> str:
        found: Any = {"Values": values, "Release": {"Name": "harbour"}}
        for part in match[1].split("."):
            found = found[part]
        return str(found)

    text = (FOLDER / "helm/garrison/templates" / name).read_text(encoding="utf-8")
    return list(yaml.safe_load_all(re.sub(r"{{ \.([\w.]+) }}", find, text)))


def list_pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    specs = [found["spec"] for found in objects if found["kind"] in {"Deployment", "CronJob"}]
    return [spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"] for spec in specs]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("service.yaml", ["serving", "serve"]),
        ("console.yaml", ["monitoring", "console"]),
        ("night.yaml", ["monitoring", "night"]),
    ],
)
def test_the_chart_runs_each_part_without_rights_and_with_secrets_from_a_secret(name: str, command: list[str]) -> None:
    [pod] = list_pods(render_chart(name))
    [container] = pod["containers"]
    # The image of the service has its commands alone, so its entry point names the folder.
    words = ["garrison", *command, *container["args"][container["args"].index(command[1]) + 1 :]]
    assert check_command(words) == ["garrison", *command]
    assert container["envFrom"] == [{"secretRef": {"name": "garrison"}}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_chart_runs_one_night_at_a_time_and_lets_the_ingress_alone_in() -> None:
    [job] = render_chart("night.yaml")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert list_pods([job])[0]["restartPolicy"] == "Never"
    [policy] = render_chart("network.yaml")
    [rule] = policy["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [3000, 3001]
    assert yaml.safe_load((FOLDER / "helm/garrison/Chart.yaml").read_text(encoding="utf-8"))["apiVersion"] == "v2"


@pytest.mark.parametrize("part", ["service", "console"])
def test_the_units_of_service_and_console_start_them(part: str) -> None:
    unit = read_unit(f"garrison-{part}.service")
    words = shlex.split(unit["Service"]["ExecStart"])
    assert check_command(words)[2] == {"service": "serve", "console": "console"}[part]
    assert (unit["Service"]["Restart"], unit["Service"]["NoNewPrivileges"]) == ("always", "true")


def test_the_images_are_made_of_files_that_exist_and_end_in_commands_that_exist() -> None:
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    root = FOLDER.parents[2]
    for line in (line.split() for line in lines if line.startswith("COPY") and "--from" not in line):
        assert [name for name in line[1:-1] if not (root / name).exists()] == []
    entries = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith(("ENTRYPOINT", "CMD"))]
    assert [entry[1:] for entry in entries[::2]] == [["-m", "serving"], ["-m", "monitoring.garrison"]]
    check_command(["garrison", "serving", *entries[1]])
    assert check_command(["garrison", *entries[3]]) == NIGHT
    assert subprocess.run(["sh", "-n", FOLDER / "make_environment.sh"], check=False).returncode == 0
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    assert [check_command(["garrison", *compose["services"][name]["command"]]) for name in ("console", "night")]
    assert all(compose["services"][name]["read_only"] for name in ("service", "console", "night"))


def test_the_dags_of_airflow_call_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = mock.MagicMock()
    dags = mock.MagicMock()
    install(monkeypatch, "airflow.sdk", DAG=dags)
    install(monkeypatch, "airflow.providers.standard.operators.bash", BashOperator=tasks)
    runpy.run_path(str(FOLDER / "airflow_dag.py"))
    commands = [check_command(split_shell(call.kwargs["bash_command"])) for call in tasks.call_args_list]
    assert commands[:2] == [NIGHT, [*NIGHT[:2], "deliver"]]
    assert dags.call_args_list[0].kwargs["max_active_runs"] == 1
    assert len(dags.call_args_list) == len(commands)


def test_the_job_of_dagster_calls_the_night_and_fails_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def decorate(*args: Any, **_: Any) -> Callable[..., Any]:
        return args[0] if args else lambda function: function

    names = dict.fromkeys(
        ("DefaultScheduleStatus", "Definitions", "OpExecutionContext", "RetryPolicy", "ScheduleDefinition"),
        mock.MagicMock(),
    )
    install(monkeypatch, "dagster", job=decorate, op=decorate, **names)
    module = runpy.run_path(str(FOLDER / "dagster_job.py"))
    ran: list[list[str]] = []

    def fail(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 1, "out", "error: on hold")

    monkeypatch.setattr(subprocess, "run", fail)
    context = mock.MagicMock()
    with pytest.raises(subprocess.CalledProcessError):
        module["night"](context)
    assert [check_command(command) for command in ran] == [NIGHT]
    assert "error: on hold" in context.log.info.call_args.args


def install(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """Make a module importable that is not installed here."""
    path = ""
    for part in name.split("."):
        path = f"{path}.{part}" if path else part
        if path not in sys.modules:
            monkeypatch.setitem(sys.modules, path, ModuleType(path))
    vars(sys.modules[name]).update(members)


def test_every_example_is_named_in_the_docs() -> None:
    page = (FOLDER.parents[1] / "operations.md").read_text(encoding="utf-8")
    assert [file.name for file in FOLDER.iterdir() if file.name not in page] == []
