"""A file of a cache or of results that was cut short or spoiled: the next command says so, makes it again, goes on."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.catalog import Catalog
from features.core import harmed_files
from features.engine import snapshot_cache
from features.sources.history import History
from serving.scoring import score_table
from serving.scoring.score_table import ScoreTable
from serving.scoring.scorer import Scorer
from serving.scoring.snapshot_store import SnapshotStore
from serving.tiers import course
from tests.support.harbour import NOW, Harbour, command
from training.registry import promotion_log

EARLIER, LATER = "2023-12-01", "2024-01-01"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def spoil(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 5, len(content), len(content) // 5):
        content[place : place + 64] = bytes(64)[: len(content) - place]
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def score(harbour: Harbour, day: str) -> str:
    done = command("score", "--as-of", day, "--config", harbour.config)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_frame(harbour: Harbour, day: str) -> pd.DataFrame:
    (file,) = score_table.scores_folder(harbour.settings).glob(f"{day}*.parquet")
    return ScoreTable.read(file).table.to_pandas()


def test_every_harmed_file_heals_with_the_next_score(own_harbour, caplog):
    settings, var = own_harbour.settings, own_harbour.settings.var
    score(own_harbour, EARLIER)
    score(own_harbour, LATER)
    with History.open(settings) as history:
        snapshot_cache.load_table(settings, history, [NOW])
    before = read_frame(own_harbour, LATER)
    folders = ("history", "snapshots", "scores", "features")
    files = [f for folder in folders for f in (var / folder).iterdir() if f.suffix in {".parquet", ".duckdb"}]
    assert len(files) == 6  # one history and cached snapshot; a stored snapshot and a score table of two days each
    for file, harm in zip(sorted(files), cycle((cut, spoil, empty)), strict=False):
        harm(file)

    caplog.clear()
    score(own_harbour, LATER)
    lines = [record.getMessage() for record in caplog.records if record.name == "garrison.files"]
    # The day's own results are written anew without being read.
    read = {str(f) for f in files if f.parent.name in {"history", "features"} or EARLIER in f.name}
    assert {line.split(" ")[0] for line in lines} == {f for f in read if "/snapshots/" not in f}
    assert all("was put aside" in line and "\n" not in line for line in lines)
    again = read_frame(own_harbour, LATER)
    # What a run takes from the one before is gone, and nothing is made up.
    compared = [c for c in again if c.endswith("_before")]
    assert again[compared].isna().all(axis=None)
    changed = [*compared, *course.COLUMNS]
    pd.testing.assert_frame_equal(again.drop(columns=changed), before.drop(columns=changed))

    caplog.clear()
    score(own_harbour, EARLIER)
    assert not caplog.records
    # The service takes the newest run of which both files are whole.
    cut(var / "snapshots" / "2024-01-01T000000Z.parquet")
    store = SnapshotStore.load(settings, Scorer(promotion_log.load_champions(settings), Catalog.for_company(settings)))
    assert f"{store.as_of:%Y-%m-%d}" == EARLIER
    assert store.scores is not None
    assert "snapshots/2024-01-01T000000Z.parquet was harmed and was put aside" in caplog.text


def test_cached_snapshots_heal_in_the_middle_of_a_read(own_harbour):
    settings = own_harbour.settings
    with History.open(settings) as history:
        first = snapshot_cache.load_table(settings, history, [NOW])
        (file,) = (settings.var / "features").glob("*.parquet")
        pq.write_table(first, file, row_group_size=10, **harmed_files.CHECKSUMS)
        content = bytearray(file.read_bytes())
        content[pq.read_metadata(file).row_group(4).column(7).data_page_offset + 40] ^= 255
        file.write_bytes(content)
        parts = list(snapshot_cache._read(history, NOW, file, 10))
        assert [part.num_rows for part in parts][:2] == [10, 10]
        assert pa.concat_tables(parts).equals(first)
        assert harmed_files.is_parquet_whole(file)
        cut(file)  # other processes are handed whole files alone
        assert harmed_files.is_parquet_whole(snapshot_cache.build_files(settings, history, [NOW])[NOW])


def test_a_harmed_file_in_a_read_only_folder_is_passed_over(tmp_path, caplog, monkeypatch):
    file = tmp_path / "scores.parquet"
    file.write_bytes(b"PAR1 nothing")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    assert harmed_files.find_whole([file], "score again") is None
    assert "can't be put aside (Permission denied): score again" in caplog.text
    assert file.exists()
