"""The company's key, by which whoever was erased is known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.settings.privacy import Privacy
from features.state import tombstones
from tests.support.state_settings import make_state_settings


def test_a_key_that_can_not_be_written_leaves_nothing_and_the_next_try_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_state_settings("sqlite://", tmp_path / "var", privacy=Privacy())

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            tombstones.read_key(settings)
    assert list(tmp_path.rglob("*.part")) == []
    key = tombstones.read_key(settings)
    assert (len(key), tombstones.read_key(settings)) == (64, key)
    (file,) = (tmp_path / "var").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == (tombstones.KEY_FILE, 0o600)
