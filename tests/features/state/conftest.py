"""Here the state's tables are migrated as on a user's machine, for each database anew."""

from __future__ import annotations

import pytest

from features.state import database


@pytest.fixture(autouse=True)
def migrated(monkeypatch: pytest.MonkeyPatch, migrate_state: object) -> None:
    monkeypatch.setattr(database, "_upgrade", migrate_state)
