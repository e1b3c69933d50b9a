"""The wheel in an environment of its own, away from the repository: `garrison` does what `python -m` does."""

import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment with the wheel and, by a .pth file, the libraries of this one; and an empty folder to work in."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    venv.create(environment, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(paths["purelib"]) / "libraries.pth").write_text("\n".join(sorted(libraries)) + "\n")
    # Compiled at once, so that the commands below start as an installed command does.
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    (folder / "work").mkdir()
    shutil.copy(ROOT / "docs" / "examples" / "tidewater.toml", folder / "work" / "garrison.toml")
    return folder / "work", Path(paths["scripts"]) / "garrison"


@pytest.fixture
def garrison(installed):
    folder, command = installed

    def run(*words, **environment):
        given = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"GARRISON_DATA": str(folder / "samples")}
        done = subprocess.run(
            [command, *words], cwd=folder, env=given | environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_lists_the_folders(garrison):
    listed = garrison("--help")
    assert all(folder in listed for folder in ("features", "training", "serving", "monitoring"))
    assert "--install-completion" in listed


def test_a_shell_completes_its_commands(garrison):
    typed = {"_GARRISON_COMPLETE": "complete_bash", "COMP_WORDS": "garrison training pro", "COMP_CWORD": "2"}
    assert garrison(**typed).split() == ["promote"]


def test_a_company_is_sampled_and_checked_away_from_the_repository(garrison, installed):
    folder, _ = installed
    sample = garrison(
        "features", "sample", "tidewater", "--accounts", "100", "--months", "9", "--out", "samples/tidewater"
    )
    assert "100" in sample
    assert "accounts" in garrison("features", "check")
    (page,) = (folder / "var").rglob("*.html")  # rendered from a template in the wheel
    assert "</html>" in page.read_text(encoding="utf-8")


def test_the_state_database_is_made_by_the_migrations_in_the_wheel(garrison, installed):
    folder, command = installed
    assert "There are no keys" in garrison("serving", "key", "list")
    (database,) = (folder / "var").rglob("*.db")
    with closing(sqlite3.connect(database)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {"scores", "episodes", "outbox"} <= tables
    packages = command.parents[1] / "lib"
    assert list(packages.rglob("features/state/migrations/versions/0001_scores.py"))
