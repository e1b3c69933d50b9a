"""The callback that long work reports its progress to: one type for all folders."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback that long work calls as each step begins and as it goes on; `print` is one."""

    def __call__(self, step: str, done: int = 0, total: int = 0, /) -> None:
        """Report progress.

        Args:
            step: What is under way, in words.
            done: Units done of it so far.
            total: Units in all; 0 where that is not known.
        """


def ignore(step: str, done: int = 0, total: int = 0, /) -> None:
    """Do nothing: the default where a caller wants no reports."""
