"""A sample of the scores that are served, each with what it takes to work it out again offline.

That is the models' versions, the history behind it and how far the log of posted events was read, or else the posted
rows themselves.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import random
import threading
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
from serving.schemas.score_requests import PostedAccount
from serving.scoring.scorer import PreparedSnapshots, Scorer

_log = logging.getLogger("bentoml.garrison")
_A_DAY = 86_400.0
# Posted rows of which no more than so many characters are kept; longer histories are not sampled.
MAX_CHARACTERS = 200_000
# Samples that may wait to be written.
_WAITING = 100
# Of a posted account, what says who to speak to is not kept.
_PERSONAL = frozenset(CONTACT) - {"account_id", "created_at"}


class ParitySampler:
    """Keeps some of what one worker serves; close it, so that what waits is written.

    A thread writes. What can't be written is dropped: a sample is no record.

    Args:
        opened: The state database.
        a_day: How many of a day's scores at most.
        clock: Seconds, ascending.
    """

    def __init__(self, opened: Store, a_day: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = opened, clock
        # A tenth may come at once, the rest is spread over the day.
        self._most = max(1.0, a_day / 10)
        self._each = a_day * 0.9 / _A_DAY
        self._due, self._counted_at = self._most, clock()
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="garrison-parity", daemon=True)
        self._thread.start()

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
        """Say what is being served; one of it is kept where one is due. Takes a microsecond where none is.

        Args:
            scorer: That scores them.
            rows: Ready for the models.
            places: Of those served.
            history: The key of the kept history that they come from.
            position: The place up to which the log of posted events was read.
            posted: The accounts as posted, by id, where they were.
        """
        if not self._is_due() or not places:
            return
        place = random.choice(places)  # noqa: S311  # nothing secret here
        account_id = rows.account_ids[place]
        kept = None if posted is None else _kept(posted[account_id])
        if (posted is None and history is None) or (kept is not None and len(kept) > MAX_CHARACTERS):
            return
        self._due -= 1
        row = {
            "served_id": uuid.uuid4().hex,
            "served_at": to_micros(datetime.now(UTC)),
            "account_id": account_id,
            "as_of": int(rows.as_of[place]),
            "catalog": scorer.catalog.version,
            "history": history,
            "position": position,
            "posted": kept,
            "told": json.dumps(capture_scores(scorer, rows, place)),
            "checked_at": None,
            "fate": None,
        }
        try:
            self._waiting.put_nowait(row)
        except queue.Full:
            _log.warning("a served score was not kept for the parity check: the database is too slow")

    def close(self) -> None:
        """Write what waits, and stop."""
        self._waiting.put(None)
        self._thread.join()

    def _is_due(self) -> bool:
        now = self._clock()
        self._due = min(self._most, self._due + (now - self._counted_at) * self._each)
        self._counted_at = now
        return self._due >= 1

    def _run(self) -> None:
        while (row := self._waiting.get()) is not None:
            try:
                with self._store.writing() as connection:
                    connection.execute(sa.insert(SERVED).values(row))
            except GarrisonError as error:
                _log.warning("a served score was not kept for the parity check: %s", error)


def _kept(posted: PostedAccount) -> str:
    """A posted account as text, decimals exact, without what tells who its people are."""
    kept: PostedAccount = {"account": {c: v for c, v in posted["account"].items() if c not in _PERSONAL}}
    for table in (t for t in EVENTS if t in posted):
        kept[table] = [
            row | {"user_id": _alias(row["user_id"])} if row.get("user_id") else row for row in posted[table]
        ]
    return json.dumps(kept, default=str)


def _alias(user_id: str) -> str:
    # What counts is who is the same.
    return hashlib.sha256(user_id.encode()).hexdigest()[:16]


def parse_posted(settings: Settings, text: str) -> PostedAccount:
    """What the sampler has kept."""
    posted: PostedAccount = json.loads(text)
    own = {c: value.kind for c, value in settings.tables["accounts"].columns.items()}
    for name, found in posted.items():
        table = "accounts" if name == "account" else name
        kinds = (own if table == "accounts" else {}) | {c: column.kind for c, column in TABLES[table].columns.items()}
        for row in [found] if name == "account" else found:
            row |= {c: Decimal(v) for c, v in row.items() if kinds[c] == DECIMAL and v is not None}
    return posted


def capture_scores(scorer: Scorer, rows: PreparedSnapshots, place: int) -> dict[str, Any]:
    """By target the model, its features' values and its probabilities by horizon; None is a missing value."""
    found = {}
    for target, bundle in scorer.bundles.items():
        matrix = rows.matrices[target][[place]]
        values = [None if np.isnan(v) else v for v in matrix[0].tolist()]
        scores = dict(zip(map(str, bundle.horizons), bundle.probabilities(matrix)[0].tolist(), strict=True))
        found[target] = {"model": bundle.version, "values": values, "scores": scores}
    return found
