"""What is read from a file is read anew when the file changes: at once, or in the background."""

import os

from features.core.errors import GarrisonError
from features.core.file_value import FileValue


def test_a_newer_file_is_read_at_once_or_in_the_background_and_one_that_cannot_be_read_leaves_what_was_read(tmp_path):
    file, begun = tmp_path / "scores", []

    def write(text):
        file.write_text(text)
        os.utime(file, ns=(len(begun), len(begun)))  # every writing has its own instant

    def read(found):
        begun.append(found)
        text = found.read_text() if found else None
        if text == "harmed":
            raise GarrisonError("the file is harmed")
        return text

    at_once = FileValue(lambda: file if file.exists() else None, read)
    assert at_once.get() is None
    write("first")
    assert [at_once.get(), at_once.get(), len(begun)] == ["first", "first", 2]

    behind = FileValue(lambda: file, read, in_background=True)
    assert behind.get() == "first"
    write("second")
    assert behind.get() == "first"
    behind.wait()
    assert behind.get() == at_once.get() == "second"

    write("harmed")
    assert behind.get() == "second"
    behind.wait()
    seen = len(begun)
    assert [behind.get(), behind.current, len(begun)] == ["second", "second", seen]
