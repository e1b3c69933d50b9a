"""Where the HTTP service's features come from: the newest stored snapshot by account id, or posted histories."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import snapshots
from features.contract import EVENTS, TABLES
from features.errors import GarrisonError
from features.files import replacing
from features.history import History
from features.settings import Settings
from serving.scorer import Rows, Scorer
from training import cohorts

# Columns of a stored snapshot that say who was eligible; no feature's name has a dot.
COHORT = "in_cohort."
_ABOUT = b"garrison"


@dataclass(frozen=True)
class Snapshot:
    """One company's accounts at one instant, as batch scoring saw and stored them.

    Args:
        as_of: Where it looks from.
        frame: As `features.snapshots.build` gives it.
        sources: Event tables that it was made from.
        in_cohort: By target, who was eligible: shape (n,), in the frame's order.
        catalog: Fingerprint of the feature definitions.
    """

    as_of: datetime
    frame: pd.DataFrame
    sources: tuple[str, ...]
    in_cohort: Mapping[str, Any]
    catalog: str

    @classmethod
    def take(cls, settings: Settings, history: History, as_of: datetime) -> Self:
        """Look at a company's history from `as_of`.

        Raises:
            GarrisonError: No account had been created by then.
        """
        frame = snapshots.build(history, [as_of])
        if frame.empty:
            raise GarrisonError(
                f"there is nobody to score at {as_of:%Y-%m-%d}: no account was created before it",
                do="Give a later --as-of",
            )
        return cls(as_of, frame, history.sources, eligible(settings, history, frame, as_of), history.catalog.version)

    def write(self, folder: Path) -> Path:
        """Store it under its `as_of`, whole or not at all."""
        file = folder / f"{self.as_of:%Y-%m-%dT%H%M%SZ}.parquet"
        about = {"as_of": self.as_of.isoformat(), "sources": self.sources, "catalog": self.catalog}
        columns = {COHORT + target: eligible for target, eligible in self.in_cohort.items()}
        table = pa.Table.from_pandas(self.frame.assign(**columns), preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _ABOUT: json.dumps(about).encode()})
        with replacing(file) as part:
            pq.write_table(table, part)
        return file

    @classmethod
    def newest(cls, folder: Path) -> Self | None:
        """The stored snapshot that looks from latest, None before the first."""
        files = sorted(folder.glob("*.parquet"))
        return cls.read(files[-1]) if files else None

    @classmethod
    def read(cls, file: Path) -> Self:
        """A stored snapshot.

        Raises:
            GarrisonError: The file is not one.
        """
        try:
            table = pq.read_table(file)
            about = json.loads((table.schema.metadata or {})[_ABOUT])
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise GarrisonError(
                f"{file} is not a stored snapshot", there=type(error).__name__, do="Score again: make score"
            ) from error
        frame = table.to_pandas()
        known = {c: frame.pop(c).to_numpy(dtype=bool) for c in list(frame) if c.startswith(COHORT)}
        return cls(
            as_of=datetime.fromisoformat(about["as_of"]),
            frame=frame,
            sources=tuple(about["sources"]),
            in_cohort={c.removeprefix(COHORT): eligible for c, eligible in known.items()},
            catalog=about["catalog"],
        )

    def rows(self, scorer: Scorer) -> Rows:
        """Ready for the models."""
        return scorer.rows(self.frame, self.sources, self.in_cohort)


@dataclass(frozen=True)
class Online:
    """The newest snapshot in memory, row by account id.

    Args:
        as_of: Where it looks from; None where there is no snapshot yet.
        rows: Ready for the models; None as well then.
        index: Account id to row.
    """

    as_of: datetime | None
    rows: Rows | None
    index: Mapping[str, int]

    @classmethod
    def load(cls, settings: Settings, scorer: Scorer) -> Self:
        """Read the newest stored snapshot.

        Raises:
            GarrisonError: It can't be read, or lacks what a model wants.
        """
        snapshot = Snapshot.newest(folder(settings))
        if snapshot is None:
            return cls(None, None, {})
        rows = snapshot.rows(scorer)
        return cls(snapshot.as_of, rows, {account: i for i, account in enumerate(rows.account_ids)})


def folder(settings: Settings) -> Path:
    """Where the company's snapshots are stored."""
    return settings.var / "snapshots"


def eligible(settings: Settings, history: History, frame: pd.DataFrame, as_of: datetime) -> dict[str, np.ndarray]:
    """By target, which rows of the frame are in its cohort; targets whose tables are not there are left out."""
    found = {}
    for name, target in settings.targets.items():
        needed = target.cohort.table
        if needed in history.tables:
            cohort = cohorts.eligible(history, target.cohort, [as_of])
            found[name] = frame["account_id"].isin(cohort["account_id"]).to_numpy()
    return found


def posted(settings: Settings, scorer: Scorer, accounts: Sequence[Mapping[str, Any]], as_of: datetime) -> Rows:
    """Posted accounts, ready for the models; those created at or after `as_of` have no row.

    Args:
        settings: The company's.
        scorer: Its champions.
        accounts: Each with its canonical row under "account", and its event rows by table. All must give the
            same tables: one that isn't given is a missing source.
        as_of: Where to look from.
    """
    tables: dict[str, list[Mapping[str, Any]]] = {"accounts": [a["account"] for a in accounts]}
    for table in (t for t in EVENTS if t in accounts[0]):
        tables[table] = [row for a in accounts for row in _events(settings, table, a)]
    with History.posted(settings, tables, scorer.catalog) as history:
        frame = snapshots.build(history, [as_of])
        return scorer.rows(frame, history.sources, eligible(settings, history, frame, as_of))


def _events(settings: Settings, table: str, account: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An account's event rows, each with its account and with when it became known."""
    time = str(TABLES[table].time)
    spec = settings.tables.get(table)
    lag = spec.lag // timedelta(microseconds=1) if spec else 0
    account_id = account["account"]["account_id"]
    return [{**row, "account_id": account_id, "known_at": _known(row, row[time] + lag)} for row in account[table]]


def _known(row: Mapping[str, Any], default: int) -> int:
    given = row.get("known_at")
    return default if given is None else int(given)
