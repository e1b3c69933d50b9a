"""Keeps the facts of all streams as narrow arrays beside the cached tables, so that they are read from the tables once.

A file holds some accounts' facts and never changes: its folder bears the key of the tables, its name tells the catalog
and the code that made it. In it the arrays lie one after another, then their names and types, then the seal that tells
a harmed file, which is made again. It is mapped into memory: what nobody reads costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from features.core.atomic_write import write_atomically
from features.core.code_fingerprint import fingerprint_packages
from features.core.harmed_files import set_aside
from features.core.timestamps import EVER
from features.definitions.feature import DAY, Stream, WindowedMeasure
from features.engine import facts, window_kernels
from features.engine.facts import Facts
from features.engine.native_code import load_kernels
from features.sources import file_seal
from features.sources.history import History

# What computes facts and snapshots, whichever the engine; the catalog has a fingerprint of its own.
CODE = ("features.engine", "features.arrays", "features.definitions")
Streams = Mapping[Stream, Sequence[WindowedMeasure]]
Arrays = Mapping[str, np.ndarray]
Scales = Sequence[Mapping[str, int]]  # by stream
_NARROWER = (np.int8, np.int16, np.int32)
_LENGTH = struct.Struct("<Q")  # of the names and types, which come before it
_WORD = 8  # bytes: where an array may begin
_VALUE = "value "  # precedes the names of measures, which could be those of other columns


def load_facts(
    history: History, streams: Streams, accounts: tuple[int, int], as_ofs: np.ndarray
) -> Iterator[tuple[Stream, Facts]]:
    """Yield the facts of some accounts, stream by stream; of a company from its file, if there is one.

    A missing file is made for several instants. For one alone less is read than a file would hold.

    Args:
        history: Of the company, or of posted accounts.
        streams: Each with what is measured on it.
        accounts: Numbers of the first and of the last account.
        as_ofs: Instants to look from, µs, ascending.

    Raises:
        GarrisonError: A sum could leave the whole numbers that 64 bits hold.
    """
    file = None if history.cache is None else history.cache.facts / _name(history, accounts)
    found = None if file is None else _read(file)
    if found is None and file is not None and len(as_ofs) > 1:
        found = _collect(history, streams, accounts)
        with write_atomically(file) as part:
            part.touch(mode=0o600)
            _write(part, *found)
            file_seal.seal(part)
    if found is None:
        for stream, asks in streams.items():
            since = _find_since(asks, int(as_ofs[0]))
            yield stream, facts.read_facts(history, stream, asks, accounts=accounts, since=since)
        return
    for place, stream in enumerate(streams):
        yield stream, _widen(*found, place)


def _find_since(asks: Sequence[WindowedMeasure], earliest: int) -> int:
    spans = [None if a.days is None else a.before + a.days for a in asks]
    return EVER if None in spans else earliest - max(s for s in spans if s is not None) * DAY


def _name(history: History, accounts: tuple[int, int]) -> str:
    made_of = json.dumps([history.catalog.version, fingerprint_packages(*CODE), history.measured])
    return f"{hashlib.sha256(made_of.encode()).hexdigest()[:16]}-{accounts[0]}-{accounts[1]}.facts"


def _write(part: Path, arrays: Arrays, scales: Scales) -> None:
    places, end = {}, 0
    with part.open("wb") as opened:
        for name, values in arrays.items():
            places[name] = (values.dtype.str, len(values), end)
            end += opened.write(values.tobytes())
            end += opened.write(bytes(-end % _WORD))
        about = json.dumps([places, scales]).encode()
        opened.write(about + _LENGTH.pack(len(about)))


def _read(file: Path) -> tuple[Arrays, Scales] | None:
    """Return what a file holds; None where there is none, or a harmed one."""
    try:
        if not file_seal.is_seal_intact(file):
            set_aside(file, "the facts are read from the tables again")
            return None
        mapped = np.memmap(file, dtype="uint8", mode="r")
    except FileNotFoundError:
        return None
    end = len(mapped) - file_seal.SIZE - _LENGTH.size
    (length,) = _LENGTH.unpack(mapped[end : end + _LENGTH.size].tobytes())
    places, scales = json.loads(mapped[end - length : end].tobytes())
    return {name: np.frombuffer(mapped, kind, count, at) for name, (kind, count, at) in places.items()}, scales


def _collect(history: History, streams: Streams, accounts: tuple[int, int]) -> tuple[Arrays, Scales]:
    """Read the facts from the tables; return their columns, narrowed, each after its stream's place, and scales."""
    arrays, scales = dict[str, np.ndarray](), []
    for place, (stream, asks) in enumerate(streams.items()):
        whole = facts.read_facts(history, stream, asks, accounts=accounts, since=EVER)
        coded = {a.measure.name for a in asks if a.measure.how == "distinct"}
        columns = {"account": whole.account, "t": whole.t, "delay": whole.known - whole.t}
        columns |= {} if whole.until is None else {"until": whole.until}
        columns |= {
            _VALUE + name: _number_values(whole.account, values) if name in coded else values
            for name, values in whole.values.items()
        }
        arrays |= {f"{place} {name}": _narrow(values) for name, values in columns.items()}
        scales.append(dict(whole.scale))
    return arrays, scales


def _widen(arrays: Arrays, scales: Scales, place: int) -> Facts:
    mine = f"{place} "
    columns = {name.removeprefix(mine): c for name, c in arrays.items() if name.startswith(mine)}
    t = columns["t"]
    values = {name.removeprefix(_VALUE): c for name, c in columns.items() if name.startswith(_VALUE)}
    return Facts(columns["account"], t, t + columns["delay"], columns.get("until"), values, scales[place])


def _number_values(account: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return numbers from 0 for each account's different values, in the order of their first facts; -1 stays."""
    starts = np.flatnonzero(np.diff(account, prepend=-1, append=-1)).astype("int64")
    numbers = np.empty(len(codes), dtype="int64")
    scratch = np.zeros((2, int(codes.max(initial=-1)) + 1), dtype="int64")
    given = (starts, np.ascontiguousarray(codes, "int64"), len(starts) - 1, *scratch, numbers)
    load_kernels(window_kernels)["number_values"](*(a if isinstance(a, int) else a.ctypes.data for a in given))
    return numbers


def _narrow(values: np.ndarray) -> np.ndarray:
    """Return whole numbers in the narrowest type that holds them."""
    if not len(values):
        return values
    least, most = int(values.min()), int(values.max())
    fitting = (kind for kind in _NARROWER if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max)
    return values.astype(next(fitting, values.dtype))
