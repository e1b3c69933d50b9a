"""A small demo to its end: it prints what a customer reads, so its output is read here too."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECONDS = 900


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(ROOT / "docs" / "examples", folder / "docs" / "examples")
    config = folder / "docs" / "examples" / "tidewater.toml"
    # One horizon a target; and embedding takes longer than all else that the small company's map needs.
    toml = config.read_text(encoding="utf-8").replace("[30, 90]", "[90]").replace("most = 200", 'source = "words"')
    config.write_text(toml, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def output(folder):
    """What a demo of 450 accounts prints, errors among it."""
    command = [sys.executable, "-m", "monitoring", "demo", "tidewater", "--accounts", "450"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    # No browser is found there: pictures are tested in test_screenshots.py.
    environment |= {"PATH": str(Path(sys.executable).parent)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        timeout=SECONDS,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    text = done.stdout.decode()
    assert done.returncode == 0, text[-4_000:]
    return text


def test_healthy_data_are_ok_and_alerts_reach_owners(output):
    healthy, _ = output.split("Harm on purpose", 1)
    assert re.search(r"^.*\bok\b", healthy, re.MULTILINE | re.IGNORECASE)
    assert not re.search(r"\bhold\b|\bheld\b(?! out)|Broken|Drifted", healthy)
    assert re.search(r"Sent [1-9]\d*, refused 0", healthy)
    assert "What happened:" in healthy


def test_the_harmed_source_is_named_and_nobody_is_woken(output):
    harmed = output.split("Harm on purpose", 1)[1]
    assert re.search(r"usage.*(silent|last event)", harmed)
    assert "no alerts may go out now" in harmed
    assert not re.search(r"Episodes: [1-9]", harmed)


def test_every_place_to_look_is_there_and_no_line_makes_a_customer_stumble(output, folder):
    places = output.split("Where to look", 1)[1]
    files = [line.split()[-1] for line in places.splitlines() if line.strip().endswith((".html", ".csv", ".parquet"))]
    assert len(files) >= 6
    assert all((folder / file).exists() for file in files)
    assert "monitoring.html" in places
    assert not re.search(r"Traceback|Warning|\bnan\b|\bNone\b", output)
