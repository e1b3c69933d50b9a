"""Whatever step of a command fails, it says so in one line, and its rerun leaves what an undisturbed run does.

`make faults` lets every step of more commands fail.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_faults import Job, Sweep, read_folder, spread
from tests.support.commands import run_command
from tests.support.faults import Fault

KINDS = ("disk full", "kill", "error after")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("build", ("features", "build", "--out", "FOLDER/snapshots.parquet")),
        ("score", ("serving", "score", "--even-if-held", "--to", "sqlite:///FOLDER/crm.db")),
    ],
)
def test_a_command_of_which_a_step_fails_is_made_up_for_by_the_next(own_harbour: Any, name: str, words: Any) -> None:
    folder: Path = own_harbour.config.parent
    line = [word.replace("FOLDER", str(folder)) for word in words]
    run = partial(run_command, *line, "--as-of", "2024-01-01", "--config", own_harbour.config)
    job, sweep = Job(name, run, partial(read_folder, folder)), Sweep(folder, lambda at, kind: Fault(None, at, kind))
    expected = sweep.measure(job)
    assert expected.command.returncode == 0
    assert sweep.find_broken(job, expected, spread(expected.steps, KINDS)) == []
