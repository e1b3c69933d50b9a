"""The night as a process: undisturbed, killed at every step, on hold, failed, repeated; and what it sends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from monitoring.night.night_log import STEPS
from tests.monitoring.night.conftest import NightScene
from tests.support.night_process import POINTS, EndedNight, NightProcesses
from tests.support.night_state import count_mails, find_difference, read_state

AT = "2026-01-01"


@pytest.fixture
def run(processes: NightProcesses) -> Callable[..., EndedNight]:
    """Run the night of `AT` on a scene."""

    def run_night(scene: NightScene, *words: str, **how: Any) -> EndedNight:
        return processes.run(scene.company.folder, "night", *(words or ("--as-of", AT)), **how)

    return run_night


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


def test_killed_at_every_step_in_turn_it_ends_as_an_undisturbed_one_and_sends_nothing_twice(
    make_scene: Callable[[str], NightScene], run: Callable[..., EndedNight]
) -> None:
    undisturbed, killed = make_scene("undisturbed"), make_scene("killed")
    night = run(undisturbed)
    assert (night.status, night.err) == (0, "")
    assert states(night) == dict.fromkeys(STEPS, "done")
    for step in STEPS:
        for point in POINTS:
            cut = run(killed, kill_at=(step, point))
            assert cut.status is None, f"not killed at {step}, {point}: {cut.out}{cut.err}"
    last = run(killed, "--as-of", AT, "--json", "night.json")
    assert last.status == 0, last.out + last.err

    assert find_difference(read_state(undisturbed.company), read_state(killed.company)) == []
    mails = count_mails(killed.mails)
    assert mails == count_mails(undisturbed.mails)
    assert len(mails) > 3
    assert set(mails.values()) == {1}
    # Killed as it began, then when its work was done, then when that was stored: what is stored is not repeated.
    assert {step["attempts"] for step in read_json(killed)["steps"].values()} == {3}


def test_a_second_run_of_the_same_night_does_nothing_and_says_so(
    scene: NightScene, run: Callable[..., EndedNight]
) -> None:
    assert run(scene).status == 0
    before, mails = read_state(scene.company), count_mails(scene.mails)
    again = run(scene, "--as-of", AT, "--json", "night.json")
    assert (again.status, again.err) == (0, "")
    assert re.fullmatch(r"The night of 2026-01-01 was done already, at [-\d]+ [:\d]+ UTC: nothing to do\.\n", again.out)
    assert (read_json(scene)["state"], read_json(scene)["repeated"]) == ("done", True)
    assert find_difference(before, read_state(scene.company)) == []
    assert count_mails(scene.mails) == mails
