"""Commands of which the n-th step fails, by an error, a full disk or a kill; and what a rerun then leaves.

Each run is in a forked process, on a copy of the same folder at the same path.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq

from tests.support.commands import FinishedCommand
from tests.support.faults import run_forked


class Injector(Protocol):
    """Fails the n-th step of what runs within it, and counts them."""

    steps: int


Inject = Callable[[int, str], AbstractContextManager[Injector]]


@dataclass(frozen=True)
class Job:
    """A command and what it leaves.

    Args:
        name: For people.
        run: Runs it to its end.
        read: Returns what it left by place, without what differs from run to run.
    """

    name: str
    run: Callable[[], FinishedCommand]
    read: Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class Ended:
    """A run that came to its end.

    Args:
        command: What it said.
        steps: How many it took.
        left: What it left; of a run with a fault nothing is read.
    """

    command: FinishedCommand
    steps: int
    left: Mapping[str, str]


class Sweep:
    """Runs commands on one folder, each time as it was before.

    Args:
        folder: What the commands read and write; put back before each run.
        inject: Makes the context in which a step fails.
    """

    def __init__(self, folder: Path, inject: Inject) -> None:
        self.folder, self._inject = folder, inject
        self._template = folder.with_name(f"{folder.name}.template")
        self._result = folder.with_name(f"{folder.name}.result")
        if not self._template.exists():
            shutil.copytree(folder, self._template)

    def measure(self, job: Job) -> Ended:
        """Run a command undisturbed; return what it said and left."""
        self._put_back()
        ended = self._run(job)
        assert ended is not None
        return ended

    def find_broken(self, job: Job, expected: Ended, points: Iterable[tuple[int, str]]) -> list[str]:
        """Let each of the steps fail, then run the command again; return what was not as it should be.

        Args:
            job: The command.
            expected: Its undisturbed run.
            points: Number and kind of each fault.
        """
        broken = []
        for at, kind in points:
            self._put_back()
            ended = self._run(job, at, kind)
            said = [] if ended is None else _find_unplain(ended.command)
            if ended is not None and (parts := list(self.folder.rglob("*.part"))):
                said.append(f"left {parts[0].name}")
            again = self._run(job)
            assert again is not None
            if again.command.returncode != expected.command.returncode:
                said.append(f"the rerun failed: {again.command.stderr}")
            else:
                said += [f"the rerun left {name}" for name in _find_different(again.left, expected.left)]
            broken += [f"{job.name}, {kind} at step {at}: {line}" for line in said]
        return broken

    def _put_back(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self._template, self.folder)

    def _run(self, job: Job, at: int = 0, kind: str = "error") -> Ended | None:
        """Run a command in a fork; return None if it was killed."""
        self._result.unlink(missing_ok=True)

        def run() -> None:
            with self._inject(at, kind) as fault:
                try:
                    command = job.run()
                except Exception:  # noqa: BLE001  # whatever it is, it reached the user
                    command = FinishedCommand(1, "", traceback.format_exc())
            left = {} if at else job.read()
            self._result.write_text(json.dumps([astuple(command), fault.steps, left]))

        if run_forked(run) is None:
            return None
        command, steps, left = json.loads(self._result.read_text())
        return Ended(FinishedCommand(*command), steps, left)


def _find_unplain(command: FinishedCommand) -> list[str]:
    """Return what is wrong with the end of a command that met a fault: one line says it, or it went on."""
    lines = [line for line in command.stderr.splitlines() if line.strip()]
    if "Traceback" in command.stderr + command.stdout or command.returncode not in {0, 1}:
        return [f"ended with {command.returncode}: {command.stderr[-600:]}"]
    if command.returncode == 1 and not (lines and lines[-1].startswith("error: ")):
        return [f"said nothing plain: {command.stderr[-300:]}"]
    return []


def _find_different(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return the places at which two folders differ, with how."""
    names = sorted(found.keys() | expected.keys())
    different = [name for name in names if found.get(name) != expected.get(name)]
    return [
        f"{name} {'too much' if name not in expected else 'missing' if name not in found else 'otherwise'}"
        for name in different
    ]


def read_folder(folder: Path) -> dict[str, str]:
    """Return a digest of each file below a folder, and of each table of a database, by name.

    Ids of runs, instants of the clock and logs of runs are left out, and of pages only the names are looked at. Nobody
    reads what a killed process left under the name of a `.part`: a night removes it.
    """
    found = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.endswith((".part", ".part.wal"))):
        name = str(file.relative_to(folder))
        if file.suffix == ".parquet":
            rows = pq.read_table(file).to_pylist()
            found[name] = _digest({k: v for k, v in row.items() if not _is_of_the_run(k)} for row in rows)
        elif file.suffix == ".db":
            found |= {f"{name}/{table}": rows for table, rows in _read_database(file)}
        else:
            found[name] = _digest([file.read_bytes()]) if file.suffix == ".csv" else ""
    return found


def _read_database(file: Path) -> Iterator[tuple[str, str]]:
    """Yield each table of an SQLite database with a digest of its rows."""
    with sqlite3.connect(file) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (table,) in connection.execute(query).fetchall():
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
            kept = ", ".join(f'"{c}"' for c in columns if not _is_of_the_run(c))
            rows = connection.execute(f'SELECT {kept or 1} FROM "{table}"').fetchall()  # noqa: S608  # names of tables
            is_log = table.endswith("_runs") or table.startswith("run_")
            yield table, "" if is_log else _digest(sorted(map(repr, rows)))


def _is_of_the_run(column: str) -> bool:
    return column.endswith(("_at", "run", "run_id")) or column in {"at", "seq"}


def _digest(rows: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()[:16]


def spread(steps: int, kinds: Sequence[str]) -> list[tuple[int, str]]:
    """Return a step for each kind of fault, evenly from the first to the last."""
    gap = (steps - 1) / max(1, len(kinds) - 1)
    return [(1 + round(n * gap), kind) for n, kind in enumerate(kinds)]
