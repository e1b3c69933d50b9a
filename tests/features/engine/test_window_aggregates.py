"""The compiled windows against the NumPy ones, on drawn facts: late ones, ones that end, values and null."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definitions.feature import DAY, Measure, Stream, WindowedMeasure
from features.engine import native_code, window_kernels
from features.engine.facts import NOTHING, Facts
from features.engine.window_aggregates import aggregate_windows
from tests.support import numpy_windows

FACTS = Stream("facts", "usage", lambda table: table)
MEASURES = [
    FACTS.count(),
    Measure(FACTS, "count", "n", None, "counted"),
    Measure(FACTS, "sum", "amount", None, "summed"),
    FACTS.distinct("day"),
    Measure(FACTS, "distinct", "who", None, "users"),
    FACTS.first(),
    FACTS.last(),
    Measure(FACTS, "min", "amount", None, "least"),
    Measure(FACTS, "max", "amount", None, "most"),
]
WINDOWS = [(None, 0), (None, 3), (1, 0), (2, 1), (7, 0), (7, 7), (30, 0)]
ASKS = [WindowedMeasure(m, days, before) for m in MEASURES for days, before in WINDOWS]
HOUR = DAY // 24


def draw_facts(seed, accounts, each, *, late, ends):
    draw = np.random.default_rng(seed)
    account = np.sort(draw.integers(0, accounts, accounts * each)) if each else np.zeros(0, dtype="int64")
    # Hours only, so that many facts fall on one instant, on an edge and on an `as_of`.
    t = draw.integers(-40 * 24, 40 * 24, len(account)) * HOUR
    t = t[np.lexsort((t, account))]
    known = t + np.where(draw.random(len(t)) < late, draw.integers(0, 20 * 24, len(t)) * HOUR, draw.integers(0, 2))
    until = t + draw.integers(-5, 30 * 24, len(t)) * HOUR if ends else None
    amount, null = draw.integers(-50, 50, len(t)) * 2_500, draw.random(len(t)) < 0.2
    values = {
        "counted": (draw.random(len(t)) < 0.6).astype("int64"),
        "summed": np.where(null, 0, amount),
        "least": np.where(null, NOTHING["min"], amount),
        "most": np.where(null, NOTHING["max"], amount),
        "users": draw.integers(-1, 6, len(t)),
    }
    return Facts(account, t, known, until, values, dict.fromkeys(("summed", "least", "most"), 10_000))


def assert_same_bits(facts, as_ofs, accounts):
    expected = numpy_windows.aggregate_windows(facts, ASKS, as_ofs, accounts)
    found = aggregate_windows(facts, ASKS, as_ofs, accounts)
    assert found.keys() == expected.keys()
    for column, values in expected.items():
        np.testing.assert_array_equal(found[column], values, err_msg=column)


instants = st.lists(st.integers(-35 * 4, 45 * 4).map(lambda n: n * 6 * HOUR), min_size=1, max_size=5, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 6), st.integers(0, 40)),
    late=st.sampled_from([0.0, 0.1, 1.0]),
    ends=st.booleans(),
    as_ofs=instants.map(sorted),
)
def test_every_measure_has_the_bits_of_the_numpy_windows(seed, size, late, ends, as_ofs):
    facts = draw_facts(seed, *size, late=late, ends=ends)
    assert_same_bits(facts, np.array(as_ofs), size[0])


def test_blocks_of_accounts_join(monkeypatch):
    monkeypatch.setattr("features.engine.window_aggregates._CELLS", 64)
    facts = draw_facts(7, 90, 12, late=0.1, ends=False)
    assert_same_bits(facts, np.arange(-3, 4) * 5 * DAY, 91)  # the last account has no fact


@pytest.fixture(scope="module")
def code():
    return native_code._compile(window_kernels)


def test_a_machine_compiles_once(code, monkeypatch, tmp_path):
    """What cannot be written or read is passed over; what was written is loaded, and works."""
    blocked, open_folder = tmp_path / "file" / "folder", tmp_path / "cache"
    (tmp_path / "file").write_text("no folder")
    compiled = []
    monkeypatch.setattr(native_code, "_compile", lambda _module: compiled.append(1) or code)
    monkeypatch.setattr(native_code, "_list_folders", lambda: [blocked, open_folder])
    for _ in range(2):
        kernels = native_code._load.__wrapped__(window_kernels)
    assert len(compiled) == 1
    assert [file.suffix for file in open_folder.iterdir()] == [".o"]
    monkeypatch.setattr("features.engine.window_aggregates.load_kernels", lambda _module: kernels)
    assert_same_bits(draw_facts(3, 4, 20, late=0.1, ends=True), np.array([0, 10 * DAY]), 4)


def test_a_read_only_machine_compiles_in_memory(code, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(native_code, "_compile", lambda _module: code)
    monkeypatch.setattr(native_code, "_list_folders", lambda: [tmp_path / "file" / "folder"])
    assert native_code._load.__wrapped__(window_kernels).keys() == native_code.load_kernels(window_kernels).keys()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
