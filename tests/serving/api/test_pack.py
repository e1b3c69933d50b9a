"""A Bento that was packed answers from an empty folder, without the checkout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.commands import run_command
from tests.support.harbour import Harbour, command, make_harbour, wait_for


@pytest.fixture
def relative(harbour: Harbour, tmp_path: Path) -> Path:
    """The company's TOML with relative paths; they start at the folder that commands run in."""
    config = make_harbour(tmp_path, like=harbour).config
    config.write_text(config.read_text().replace(f"{tmp_path}/", ""))
    return config


def test_a_bento_scores_a_posted_history_from_an_empty_folder(
    harbour: Harbour, relative: Path, tmp_path: Path, free_port: int
) -> None:
    folder, empty, log = tmp_path / "bento", tmp_path / "empty", tmp_path / "log"
    empty.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "GARRISON_CONFIG"}}
    environment |= {"BENTOML_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    # In a process of its own: BentoML takes its folder from the environment when it is imported.
    root = Path(__file__).parents[3]
    pack = [sys.executable, "-m", "serving", "bento", str(folder), "--config", str(relative)]
    done = subprocess.run(
        pack, cwd=tmp_path, env=environment | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    held = {str(file.relative_to(folder / "src")) for file in (folder / "src").rglob("*") if file.is_file()}
    assert {"garrison.toml", "mlruns/small-harbour-promotions.jsonl"} <= held
    assert [name for name in held if name.endswith((".csv", ".db"))] == []
    create = ("key", "create", "--name", "test", "--config", "garrison.toml")
    key = run_command("serving", *create, cwd=folder / "src").stdout.split()[0]
    serve = [sys.executable, "-m", "bentoml", "serve", str(folder), "--host", "127.0.0.1", "--port", str(free_port)]
    with log.open("w") as out:
        process = subprocess.Popen(serve, cwd=empty, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{free_port}"
        wait_for(f"{url}/healthz", process, log)
        body = {"accounts": [harbour.posted("A-003")], "as_of": "2024-01-01", "detail": "scores"}
        answer = httpx.post(f"{url}/v1/score", json=body, headers={"authorization": f"Bearer {key}"}, timeout=30)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0]["scores"]["churn_90d"]["model"] == "churn-1"
    assert list(empty.iterdir()) == []


def test_a_bento_with_absolute_paths_is_refused(harbour: Harbour, tmp_path: Path) -> None:
    done = command("bento", tmp_path / "bento", "--config", harbour.config)
    assert done.returncode == 1
    assert "relative paths" in done.stderr
    assert not (tmp_path / "bento").exists()
