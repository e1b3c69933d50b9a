"""A company whose alerts ran on eight Mondays, made once; tests that write get a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.past_company import write_past_company
from tests.support.shared import make_once


@pytest.fixture(scope="session")
def past(run_folder: Path) -> Path:
    """The folder of the company, the same for all processes of a run."""
    folder = run_folder / "past"
    make_once(run_folder, "past_company", lambda: write_past_company(folder))
    return folder
