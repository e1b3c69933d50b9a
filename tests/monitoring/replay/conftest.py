"""A company whose alerts ran on eight Mondays, made once; tests that write get a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.past_company import write_past_company


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the company."""
    folder = tmp_path_factory.mktemp("past") / "company"
    write_past_company(folder)
    return folder
