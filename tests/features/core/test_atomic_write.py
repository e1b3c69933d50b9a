import os
from pathlib import Path

import pytest

from features.core.atomic_write import write_atomically


@pytest.fixture
def calls(monkeypatch):
    """The paths synced to disk and the files renamed, in order."""
    order, fsync, replace = [], os.fsync, Path.replace

    def spy_on_fsync(descriptor):
        order.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def spy_on_replace(part, file):
        order.append(("rename", part.name, file.name))
        return replace(part, file)

    monkeypatch.setattr(os, "fsync", spy_on_fsync)
    monkeypatch.setattr(Path, "replace", spy_on_replace)
    return order


def test_the_file_is_on_disk_before_it_takes_its_name_and_the_folder_after(tmp_path, calls):
    file = tmp_path / "new" / "result.json"
    with write_atomically(file) as part:
        part.write_text("whole")
        assert not file.exists()

    assert calls == [("sync", part.name), ("rename", part.name, "result.json"), ("sync", "new")]
    assert file.read_text() == "whole"
    assert list(file.parent.iterdir()) == [file]


def test_after_an_error_the_file_is_what_it_was_and_no_part_remains(tmp_path, calls):
    file = tmp_path / "result.json"
    file.write_text("of before")

    def write_half():
        with write_atomically(file) as part:
            part.write_text("half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        write_half()
    assert calls == []
    assert file.read_text() == "of before"
    assert list(tmp_path.iterdir()) == [file]
