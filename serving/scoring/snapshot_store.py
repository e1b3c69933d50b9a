"""Store a batch's snapshot and prepare rows for scoring: of the newest stored snapshot, or of posted histories."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.core.atomic_write import write_atomically
from features.core.contract import EVENTS, TABLES
from features.core.errors import GarrisonError
from features.core.harmed_files import CHECKSUMS, find_whole
from features.engine import one_account, snapshots
from features.engine.snapshot_cache import fingerprint_code, read_cached_parts
from features.settings import Settings
from features.sources.history import History
from serving.scoring import score_table
from serving.scoring.score_table import ScoreTable
from serving.scoring.scorer import WANTED, PreparedSnapshots, Scorer
from training.targets import cohorts

# Columns of a stored snapshot that say who was in a cohort; no feature's name has a dot.
COHORT = "in_cohort."
_ALWAYS = frozenset({"account_id", "as_of"})
_ABOUT = b"garrison"
# Runs among which the newest with both its files is looked for.
_LOOKED_AT = 10
# Accounts that take less time one by one in plain Python than the batch's arrays take to be set up for all.
_FEW = 16


@dataclass(frozen=True)
class StoredSnapshot:
    """Snapshots of some or all accounts of a company at one instant, as a batch scored them.

    Args:
        as_of: The instant of the snapshots.
        frame: As `features.engine.snapshots.build` returns it, without the features that need other accounts' rows.
        sources: Event tables that it was made from.
        in_cohort: By target, who was in its cohort: shape (n,), in the frame's order.
        catalog: Fingerprint of the feature definitions.
        run: Identifies the batch that stored it; the score table of the same batch has the same.
        history: The key of the cached history that it was built from; None where that is not cached.
        position: The place in the log of posted events that this history was read up to.
        code: Fingerprint of the code that built it; empty where that is not known.
    """

    as_of: datetime
    frame: pd.DataFrame
    sources: tuple[str, ...]
    in_cohort: Mapping[str, Any]
    catalog: str
    run: str = ""
    history: str | None = None
    position: int = 0
    code: str = ""

    @classmethod
    def build_parts(
        cls, settings: Settings, history: History, as_of: datetime, tables: Iterable[pa.Table] | None = None
    ) -> Iterator[Self]:
        """Build snapshots of a company's accounts, some accounts at a time, in the order of their ids.

        Args:
            settings: The company's.
            history: Its history.
            as_of: The instant of the snapshots.
            tables: What `features.engine.snapshots.build_parts` returns, where that is computed already.

        Raises:
            GarrisonError: No account had been created by then.
        """
        members = {t: pd.Index(ids, dtype=object) for t, ids in _find_members(settings, history, as_of).items()}
        nobody = True
        for part in snapshots.build_parts(history, as_of) if tables is None else tables:
            if part.num_rows:
                nobody = False
                frame = part.to_pandas()
                in_cohort = _flag_members(members, frame["account_id"].to_numpy(dtype=object))
                origin = (history.cache.key, history.cache.position) if history.cache else (None, 0)
                known = (history.catalog.version, "", *origin, fingerprint_code(history))
                yield cls(as_of, frame, history.sources, in_cohort, *known)
        if nobody:
            raise GarrisonError(
                f"there is nobody to score at {as_of:%Y-%m-%d}: no account was created before it",
                hint="Give a later --as-of",
            )

    @classmethod
    def build(cls, settings: Settings, history: History, as_of: datetime) -> Self:
        """Build snapshots of all accounts at once."""
        parts = list(cls.build_parts(settings, history, as_of, read_cached_parts(settings, history, as_of)))
        frame = pd.concat([part.frame for part in parts], ignore_index=True)
        in_cohort = {
            target: np.concatenate([part.in_cohort[target] for part in parts]) for target in parts[0].in_cohort
        }
        return cls(as_of, frame, history.sources, in_cohort, history.catalog.version)

    @classmethod
    def load(cls, settings: Settings, history: History, as_of: datetime) -> Self:
        """Load the snapshot that a batch stored, if it is of this very history; else that of the cache, or build it.

        Who is in a cohort is looked up anew: the settings may have changed.
        """
        file = find_stored(settings, as_of) if history.cache else None
        stored = cls.read(file) if file else None
        origin = (history.cache.key, history.cache.position) if history.cache else None
        same = stored and (stored.history, stored.position) == origin and stored.as_of == as_of
        if not (
            stored and same and (stored.catalog, stored.code) == (history.catalog.version, fingerprint_code(history))
        ):
            return cls.build(settings, history, as_of)
        members = {t: pd.Index(ids, dtype=object) for t, ids in _find_members(settings, history, as_of).items()}
        return replace(stored, in_cohort=_flag_members(members, stored.frame["account_id"].to_numpy(dtype=object)))

    @classmethod
    def load_newest(cls, settings: Settings, wanted: Collection[str] | None = None) -> Self | None:
        """Load the stored snapshot of the newest scores, or only the columns wanted; None where it is not stored.

        Raises:
            GarrisonError: The file is not one.
        """
        newest = score_table.find_newest(settings)
        file = find_stored(settings, score_table.parse_instant(newest)) if newest else None
        return cls.read(file, wanted) if file else None

    @classmethod
    def read(cls, file: Path, wanted: Collection[str] | None = None, *, most: int | None = None) -> Self:
        """Read a stored snapshot.

        Args:
            file: Of the snapshot.
            wanted: The columns to read; None for all.
            most: Read no more accounts than this, spread evenly over the file; None for all.

        Raises:
            GarrisonError: The file is not one.
        """
        try:
            with pq.ParquetFile(file) as opened:
                about = json.loads((opened.schema_arrow.metadata or {})[_ABOUT])
                names = opened.schema_arrow.names
                columns = [c for c in names if wanted is None or c in wanted or c in _ALWAYS or c.startswith(COHORT)]
                step = 1 if most is None else -(-opened.metadata.num_rows // most) or 1
                frame = _read_every(opened, columns, step) if step > 1 else opened.read(columns=columns).to_pandas()
                origin = {key: about[key] for key in ("catalog", "run", "history", "position")}
                origin["code"] = about.get("code", "")  # older files lack it
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise GarrisonError(
                f"{file} is not a stored snapshot",
                found=type(error).__name__,
                hint="Score again: python -m serving score",
            ) from error
        flags = {c: frame.pop(c).to_numpy(dtype=bool) for c in list(frame) if c.startswith(COHORT)}
        return cls(
            as_of=datetime.fromisoformat(about["as_of"]),
            frame=frame,
            sources=tuple(about["sources"]),
            in_cohort={c.removeprefix(COHORT): values for c, values in flags.items()},
            **origin,
        )

    def prepare(self, scorer: Scorer) -> PreparedSnapshots:
        """Prepare the snapshots for the models."""
        return scorer.prepare(self.frame, self.sources, self.in_cohort)


def _read_every(opened: pq.ParquetFile, columns: list[str], step: int) -> pd.DataFrame:
    """Read one row of `step`, never all rows at once."""
    parts = (batch.to_pandas() for batch in opened.iter_batches(columns=columns))
    return pd.concat([part.iloc[::step] for part in parts], ignore_index=True)


class SnapshotWriter:
    """A context that stores the parts of a snapshot as one file under its `as_of`, whole or not at all."""

    def __init__(self, folder: Path, as_of: datetime, run: str) -> None:
        self._run = run
        self._replacing = write_atomically(score_table.file_at(folder, as_of))
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        self._part = self._replacing.__enter__()
        return self

    def add(self, part: StoredSnapshot) -> None:
        """Write some more accounts."""
        columns = {COHORT + target: flags for target, flags in part.in_cohort.items()}
        table = pa.Table.from_pandas(part.frame.assign(**columns), preserve_index=False)
        if self._writer is None:
            about = {
                "as_of": part.as_of.isoformat(),
                "sources": part.sources,
                "catalog": part.catalog,
                "run": self._run,
                "history": part.history,
                "position": part.position,
                "code": part.code,
            }
            # A text column that is empty in the first part has no type of its own.
            schema = pa.schema([f.with_type(pa.string()) if pa.types.is_null(f.type) else f for f in table.schema])
            schema = schema.with_metadata({**(table.schema.metadata or {}), _ABOUT: json.dumps(about).encode()})
            options = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, **CHECKSUMS}
            self._writer = pq.ParquetWriter(self._part, schema, **options)
        self._writer.write_table(table.cast(self._writer.schema))

    def __exit__(self, *error: object) -> None:
        if self._writer:
            self._writer.close()
        self._replacing.__exit__(*error)  # type: ignore[arg-type]  # the three values of an exit


@dataclass(frozen=True)
class SnapshotStore:
    """The newest scored snapshot in memory, row by account id.

    Args:
        as_of: The instant of the snapshot; None where none is stored yet.
        rows: Prepared for the models; None where none is stored yet.
        index: Row by account id.
        scores: The batch's scores of these rows, in their order; None where they are unknown.
        history: The key of the cached history behind them; None where that is unknown.
        position: The place in the log of posted events that it was read up to.
    """

    as_of: datetime | None
    rows: PreparedSnapshots | None
    index: Mapping[str, int]
    scores: ScoreTable | None = None
    history: str | None = None
    position: int = 0

    @classmethod
    def load(cls, settings: Settings, scorer: Scorer) -> Self:
        """Load the newest stored snapshot, and its scores.

        Raises:
            GarrisonError: They can't be read, or lack a column that a model reads.
        """
        newest = _find_newest_pair(settings)
        if newest is None:
            return cls(None, None, {})
        wanted = {*WANTED, *(name for model in scorer.models.values() for name in model.features)}
        snapshot = StoredSnapshot.read(snapshots_folder(settings) / newest.name, wanted)
        scores, rows = ScoreTable.read(newest), snapshot.prepare(scorer)
        index = {account: i for i, account in enumerate(rows.account_ids)}
        # A batch that was killed between the two files has left a snapshot that is newer than its scores.
        matching = scores if scores.run == snapshot.run else None
        return cls(snapshot.as_of, rows, index, matching, snapshot.history, snapshot.position)


def snapshots_folder(settings: Settings) -> Path:
    """Return the folder of the company's stored snapshots."""
    return settings.var / "snapshots"


def find_stored(settings: Settings, as_of: datetime) -> Path | None:
    """Return the file of one instant's stored snapshot; None where there is none, or it was harmed and is put aside."""
    return find_whole([score_table.file_at(snapshots_folder(settings), as_of)], score_table.REMEDY)


def _find_newest_pair(settings: Settings) -> Path | None:
    """Return the newest score table whose snapshot is stored too: the service needs both."""
    for file in reversed(score_table.list_stored(settings)[-_LOOKED_AT:]):
        if find_stored(settings, score_table.parse_instant(file)):
            return file
    return None


def _find_members(settings: Settings, history: History, as_of: datetime) -> dict[str, np.ndarray]:
    """Find the ids of each target's cohort; a target whose tables are missing is left out."""
    return {
        name: cohorts.find_eligible_ids(history, target.cohort, as_of)
        for name, target in settings.targets.items()
        if target.cohort.table in history.tables
    }


def _flag_members(members: Mapping[str, pd.Index], ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return by target which accounts are in its cohort; an index is hashed once for all parts."""
    return {target: index.get_indexer(ids) >= 0 for target, index in members.items()}


def prepare_posted(
    settings: Settings, scorer: Scorer, accounts: Sequence[Mapping[str, Any]], as_of: datetime
) -> PreparedSnapshots:
    """Prepare posted accounts for the models; those created at or after `as_of` get no row.

    Args:
        settings: The company's.
        scorer: Its champions.
        accounts: Each with its canonical row under "account", and its event rows by table. All must give the
            same tables: one that isn't given is a missing source.
        as_of: The instant to score at.
    """
    tables: dict[str, list[Mapping[str, Any]]] = {"accounts": [a["account"] for a in accounts]}
    for table in (t for t in EVENTS if t in accounts[0]):
        tables[table] = [row for a in accounts for row in _events(settings, table, a)]
    return prepare_rows(settings, scorer, tables, as_of)


def prepare_rows(
    settings: Settings, scorer: Scorer, tables: Mapping[str, Sequence[Mapping[str, Any]]], as_of: datetime
) -> PreparedSnapshots:
    """Prepare canonical rows of a few accounts, by table, for the models.

    Accounts created at or after `as_of` get no row.
    """
    with History.from_rows(settings, tables, scorer.catalog) as history:
        one_by_one = history.count_rows() <= _FEW
        columns = one_account.build_columns(history, as_of) if one_by_one else snapshots.build(history, [as_of])
        members = {target: set(ids) for target, ids in _find_members(settings, history, as_of).items()}
        in_cohort = {t: np.array([a in ids for a in columns["account_id"]], bool) for t, ids in members.items()}
        return scorer.prepare(columns, history.sources, in_cohort)


def _events(settings: Settings, table: str, account: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return an account's event rows, each with its account and when it became known."""
    time = str(TABLES[table].time)
    spec = settings.tables.get(table)
    lag = spec.lag // timedelta(microseconds=1) if spec else 0
    account_id = account["account"]["account_id"]
    return [{**row, "account_id": account_id, "known_at": _known(row, row[time] + lag)} for row in account[table]]


def _known(row: Mapping[str, Any], default: int) -> int:
    known_at = row.get("known_at")
    return default if known_at is None else int(known_at)
