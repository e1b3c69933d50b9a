"""Keeps a sample of the served scores, each with what it takes to recompute it offline.

That is the models' versions, the history behind it and how far the event log was read, or else the posted rows.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import sqlalchemy as sa

from features.core.contract import CONTACT, DECIMAL, EVENTS, TABLES
from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.tables import SERVED
from serving.background_writer import BackgroundWriter
from serving.pacing import TokenBucket
from serving.schemas.score_requests import PostedAccount
from serving.scoring.scorer import PreparedSnapshots, Scorer

_log = logging.getLogger("bentoml.garrison")
_DAY_SECONDS = 86_400.0
# Of posted rows; longer histories are not sampled.
MAX_CHARACTERS = 200_000
_MAX_WAITING = 100
_WRITE_SECONDS = 1.0
# Columns of a posted account that name people are not kept.
_PERSONAL = frozenset(CONTACT) - {"account_id", "created_at"}


class ParitySampler:
    """Keeps a sample of what one worker serves; close it, so that waiting rows are written.

    A thread writes. What can't be written is dropped: a sample need not be complete.

    Args:
        store: The state database.
        per_day: Scores of a day at most.
        clock: Seconds, ascending.
    """

    def __init__(self, store: Store, per_day: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        # A tenth may come at once, the rest is spread over the day.
        self._bucket = TokenBucket(max(1.0, per_day / 10), per_day * 0.9 / _DAY_SECONDS, clock())
        self._writer = BackgroundWriter("garrison-parity", self._write, _WRITE_SECONDS)

    def offer(  # noqa: PLR0913  # all but the first two named
        self,
        scorer: Scorer,
        rows: PreparedSnapshots,
        *,
        places: Sequence[int],
        history: str | None = None,
        position: int = 0,
        posted: Mapping[str, PostedAccount] | None = None,
    ) -> None:
        """Keep one of the scores that are being served, if one is due; takes a microsecond if none is.

        Args:
            scorer: Gives the scores.
            rows: Ready for the models.
            places: Of the rows that are served.
            history: The key of the cached history that they come from.
            position: The place up to which the event log was read.
            posted: The accounts as posted, by id; None for accounts by id.
        """
        if self._bucket.compute_wait(self._clock()) or not places:
            return
        place = random.choice(places)  # noqa: S311  # nothing secret here
        account_id = rows.account_ids[place]
        posted_text = None if posted is None else _serialize_posted(posted[account_id])
        if (posted is None and history is None) or (posted_text is not None and len(posted_text) > MAX_CHARACTERS):
            return
        self._bucket.take()
        if len(self._writer) >= _MAX_WAITING:
            _log.warning("a served score was not kept for the parity check: the database is too slow")
            return
        row = {
            "served_id": uuid.uuid4().hex,
            "served_at": to_micros(datetime.now(UTC)),
            "account_id": account_id,
            "as_of": int(rows.as_of[place]),
            "catalog": scorer.catalog.version,
            "history": history,
            "position": position,
            "posted": posted_text,
            "told": json.dumps(capture_scores(scorer, rows, place)),
            "checked_at": None,
            "fate": None,
        }
        self._writer.put(row)

    def close(self) -> None:
        """Write what waits, and stop."""
        self._writer.close()

    def _write(self, rows: list[dict[str, Any]]) -> tuple[()]:
        try:
            with self._store.writing() as connection:
                connection.execute(sa.insert(SERVED), rows)
        except GarrisonError as error:
            _log.warning("%d served scores were not kept for the parity check: %s", len(rows), error)
        # Nothing is tried again.
        return ()


def _serialize_posted(posted: PostedAccount) -> str:
    """Return a posted account as JSON, with exact decimals and without what names its people."""
    kept: PostedAccount = {"account": {c: v for c, v in posted["account"].items() if c not in _PERSONAL}}
    for table in (t for t in EVENTS if t in posted):
        kept[table] = [_hide_people(table, row) for row in posted[table]]
    return json.dumps(kept, default=str)


def _hide_people(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with people as aliases, and without what they wrote, which no feature reads."""
    people = {c for c, column in TABLES[table].columns.items() if column.personal == "person" and row.get(c)}
    prose = {c for c, column in TABLES[table].columns.items() if column.prose}
    return {c: _alias(value) if c in people else value for c, value in row.items() if c not in prose}


def _alias(person: str) -> str:
    # Features need only know which rows are of the same person.
    return hashlib.sha256(person.encode()).hexdigest()[:16]


def parse_posted(settings: Settings, text: str) -> PostedAccount:
    """Return a posted account from the JSON that the sampler kept."""
    posted: PostedAccount = json.loads(text)
    own = {c: value.kind for c, value in settings.tables["accounts"].columns.items()}
    for name, rows in posted.items():
        table = "accounts" if name == "account" else name
        kinds = (own if table == "accounts" else {}) | {c: column.kind for c, column in TABLES[table].columns.items()}
        for row in [rows] if name == "account" else rows:
            row |= {c: Decimal(v) for c, v in row.items() if kinds[c] == DECIMAL and v is not None}
    return posted


def capture_scores(scorer: Scorer, rows: PreparedSnapshots, place: int) -> dict[str, Any]:
    """Return, by target, the model, its features' values (None if missing) and its probabilities by horizon."""
    captured = {}
    for target, bundle in scorer.models.items():
        matrix = rows.matrices[target][[place]]
        values = [None if np.isnan(v) else v for v in matrix[0].tolist()]
        scores = dict(zip(map(str, bundle.horizons), bundle.probabilities(matrix)[0].tolist(), strict=True))
        captured[target] = {"model": bundle.version, "values": values, "scores": scores}
    return captured
