"""The parity check: a sample of the scores that were served, worked out again offline and compared to the last bit.

What is sampled is kept with what it takes to do so: the models' versions, the history behind it and how far the log
of posted events was read, or the posted rows themselves.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import sqlalchemy as sa

from features.catalog import Catalog
from features.contract import CONTACT, DECIMAL, EVENTS, TABLES
from features.errors import GarrisonError
from features.history import History
from features.instants import instant, micros
from features.settings import Settings
from serving import fresh, online
from serving.schema import Posted
from serving.scorer import Rows, Scorer
from serving.store import METADATA, Store
from training import promotions
from training.bundle import Bundle

_log = logging.getLogger("bentoml.garrison")
_A_DAY = 86_400.0
# Posted rows of which no more than so many characters are kept; longer histories are not sampled.
LONGEST = 200_000
# Samples that may wait to be written.
_WAITING = 100
_CHECKED_DAYS = 30  # that what was checked is kept
_AT_ONCE = 200  # accounts
# Of a posted account, what says who to speak to is not kept.
_PERSONAL = frozenset(CONTACT) - {"account_id", "created_at"}

SERVED = sa.Table(
    "served",
    METADATA,
    sa.Column("served_id", sa.String, primary_key=True),
    sa.Column("served_at", sa.BigInteger, nullable=False),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("as_of", sa.BigInteger, nullable=False),
    sa.Column("catalog", sa.String, nullable=False),
    sa.Column("history", sa.String),
    sa.Column("position", sa.BigInteger),
    sa.Column("posted", sa.Text),
    sa.Column("told", sa.Text, nullable=False),
    sa.Column("checked_at", sa.BigInteger),
    sa.Column("fate", sa.String),
    sa.Index("served_unchecked", "checked_at", "served_at"),
)
RUNS = sa.Table(
    "parity_runs",
    METADATA,
    sa.Column("run_at", sa.BigInteger, primary_key=True),
    sa.Column("checked", sa.Integer, nullable=False),
    sa.Column("mismatches", sa.Integer, nullable=False),
)


class Sampler:
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
        rows: Rows,
        *,
        places: Sequence[int],
        history: str | None = None,
        position: int = 0,
        posted: Mapping[str, Posted] | None = None,
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
        if (posted is None and history is None) or (kept is not None and len(kept) > LONGEST):
            return
        self._due -= 1
        row = {
            "served_id": uuid.uuid4().hex,
            "served_at": micros(datetime.now(UTC)),
            "account_id": account_id,
            "as_of": int(rows.as_of[place]),
            "catalog": scorer.catalog.version,
            "history": history,
            "position": position,
            "posted": kept,
            "told": json.dumps(_told(scorer, rows, place)),
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


def _kept(posted: Posted) -> str:
    """A posted account as text, decimals exact, without what tells who its people are."""
    kept: Posted = {"account": {c: v for c, v in posted["account"].items() if c not in _PERSONAL}}
    for table in (t for t in EVENTS if t in posted):
        kept[table] = [
            row | {"user_id": _alias(row["user_id"])} if row.get("user_id") else row for row in posted[table]
        ]
    return json.dumps(kept, default=str)


def _alias(user_id: str) -> str:
    # What counts is who is the same.
    return hashlib.sha256(user_id.encode()).hexdigest()[:16]


def _read(settings: Settings, text: str) -> Posted:
    """What `_kept` has kept."""
    posted: Posted = json.loads(text)
    own = {c: value.kind for c, value in settings.tables["accounts"].columns.items()}
    for name, found in posted.items():
        table = "accounts" if name == "account" else name
        kinds = (own if table == "accounts" else {}) | {c: column.kind for c, column in TABLES[table].columns.items()}
        for row in [found] if name == "account" else found:
            row |= {c: Decimal(v) for c, v in row.items() if kinds[c] == DECIMAL and v is not None}
    return posted


def _told(scorer: Scorer, rows: Rows, place: int) -> dict[str, Any]:
    """By target the model, its features' values and its probabilities by horizon; None is a missing value."""
    told = {}
    for target, bundle in scorer.bundles.items():
        matrix = rows.matrices[target][[place]]
        values = [None if np.isnan(v) else v for v in matrix[0].tolist()]
        scores = dict(zip(map(str, bundle.horizons), bundle.probabilities(matrix)[0].tolist(), strict=True))
        told[target] = {"model": bundle.version, "values": values, "scores": scores}
    return told


@dataclass(frozen=True)
class Mismatch:
    """A score or a feature that offline comes out otherwise.

    Args:
        account_id: Whose.
        as_of: Where it was looked from.
        what: The score, such as churn_90d, or target and feature.
        served: What was served; None for a missing value.
        offline: What it should have been; None too where the account has no row.
    """

    account_id: str
    as_of: datetime
    what: str
    served: float | None
    offline: float | None

    def __str__(self) -> str:
        one, other = ("missing" if v is None else repr(v) for v in (self.served, self.offline))
        return f"{self.what} of account {self.account_id} at {self.as_of.isoformat()}: served {one}, offline {other}"


@dataclass(frozen=True)
class Parity:
    """What a run of the check found.

    Args:
        run_at: When.
        checked: How many served scores were worked out again.
        skipped: By reason, how many could not be.
        mismatches: What differs.
        accounts: How many of those checked differ in anything.
    """

    run_at: datetime
    checked: int
    skipped: dict[str, int] = field(default_factory=dict)
    mismatches: tuple[Mismatch, ...] = ()
    accounts: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For machines: instants in ISO."""
        each = [asdict(m) | {"as_of": m.as_of.isoformat()} for m in self.mismatches]
        return vars(self) | {"run_at": self.run_at.isoformat(), "mismatches": each}


def check(settings: Settings, opened: Store, *, now: datetime | None = None) -> Parity:
    """Work out again what was served and not checked yet, and write down what was found.

    Args:
        settings: The company's.
        opened: Its state database.
        now: By default the present.

    Raises:
        GarrisonError: Something stored can't be read.
    """
    at = now or datetime.now(UTC)
    with opened.reading() as connection:
        query = sa.select(SERVED).where(SERVED.c.checked_at.is_(None)).order_by(SERVED.c.served_at)
        served = [dict(row) for row in connection.execute(query).mappings()]
    checker, mismatches = _Checker(settings, opened), []
    hindrances = {row["served_id"]: checker.hindrance(row) for row in served}
    fates = {served_id: why for served_id, why in hindrances.items() if why}
    for rows in _alike(row for row in served if row["served_id"] not in fates):
        for served_id, found in checker.mismatches(rows):
            mismatches += found
            fates[served_id] = "mismatch" if found else "same"
    checker.close()
    skipped = [fate for fate in fates.values() if fate not in {"same", "mismatch"}]
    reasons = {why: skipped.count(why) for why in sorted(set(skipped))}
    wrong = sum(fate == "mismatch" for fate in fates.values())
    _write(opened, at, fates, mismatches=wrong, checked=len(fates) - len(skipped))
    return Parity(at, len(fates) - len(skipped), reasons, tuple(mismatches), wrong)


def _write(opened: Store, at: datetime, fates: Mapping[str, str], *, mismatches: int, checked: int) -> None:
    with opened.writing() as connection:
        run = {"run_at": micros(at), "checked": checked, "mismatches": mismatches}
        connection.execute(sa.insert(RUNS).values(run))
        mine = SERVED.c.served_id == sa.bindparam("id")
        told = sa.update(SERVED).where(mine).values(checked_at=micros(at), fate=sa.bindparam("what"))
        if fates:
            connection.execute(told, [{"id": served, "what": fate} for served, fate in fates.items()])
        old = micros(at - timedelta(days=_CHECKED_DAYS))
        connection.execute(sa.delete(SERVED).where(SERVED.c.checked_at < old))


def _alike(served: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Scores that can be worked out again at once: by id, from the same history at the same instant."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in served:
        models = tuple((target, told["model"]) for target, told in json.loads(row["told"]).items())
        key = row["served_id"] if row["posted"] else (row["history"], row["position"], row["as_of"], models)
        groups.setdefault(key, []).append(row)
    for rows in groups.values():
        yield from (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))


class _Checker:
    """Works out again what was served, from what is on disk alone."""

    def __init__(self, settings: Settings, opened: Store) -> None:
        self._settings, self._store = settings, opened
        self._catalog = Catalog.of(settings)
        self._bundle = cache(self._loaded)
        self._histories: dict[str, History | None] = {}

    def hindrance(self, row: Mapping[str, Any]) -> str | None:
        """Why a score can't be worked out again; None where it can."""
        if row["catalog"] != self._catalog.version:
            return "the features are defined otherwise since"
        if any(self._bundle(t, told["model"]) is None for t, told in json.loads(row["told"]).items()):
            return "a model is gone"
        if row["posted"] is None and self._history(row["history"]) is None:
            return "the history behind it is gone"
        return None

    def mismatches(self, served: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mismatch]]]:
        """What differs in scores that are alike, by served_id."""
        bundles = {target: self._bundle(target, t["model"]) for target, t in json.loads(served[0]["told"]).items()}
        scorer = Scorer({t: b for t, b in bundles.items() if b is not None}, self._catalog)
        rows = self._rows(scorer, served)
        places = {account_id: place for place, account_id in enumerate(rows.account_ids)}
        for row in served:
            place = places.get(row["account_id"])
            offline = {} if place is None else _told(scorer, rows, place)
            yield row["served_id"], list(_different(scorer, row, offline))

    def _rows(self, scorer: Scorer, served: Sequence[Mapping[str, Any]]) -> Rows:
        row, as_of = served[0], instant(served[0]["as_of"])
        if row["posted"] is not None:
            return online.posted(self._settings, scorer, [_read(self._settings, row["posted"])], as_of)
        history = self._history(row["history"])
        if history is None:
            message = "as `hindrance` has found, it is there"
            raise LookupError(message)
        accounts = sorted({row["account_id"] for row in served})
        with self._store.reading() as connection:
            came = fresh.revisions(connection, history, accounts, until=row["position"])
        tables = fresh.history_of(self._settings, history, accounts, came)
        return online.ready(self._settings, scorer, tables, as_of)

    def _loaded(self, target: str, version: str) -> Bundle | None:
        log = [p for p in promotions.read(self._settings) if (p.target, p.version) == (target, version)]
        return Bundle.load(self._settings.paths.mlruns / log[-1].bundle, version=version) if log else None

    def _history(self, key: str) -> History | None:
        if key not in self._histories:
            self._histories[key] = History.reopen(self._settings, key)
        return self._histories[key]

    def close(self) -> None:
        """Give back what it holds."""
        for history in self._histories.values():
            if history is not None:
                history.close()


def _different(scorer: Scorer, row: Mapping[str, Any], offline: Mapping[str, Any]) -> Iterator[Mismatch]:
    """What differs between a served score and the same offline, {} where the account has no row there."""
    account_id, as_of, served = row["account_id"], instant(row["as_of"]), json.loads(row["told"])
    if not offline:
        yield Mismatch(account_id, as_of, "the account", None, None)
    for target, told in offline.items():
        names = (f"{target} {feature}" for feature in scorer.bundles[target].features)
        pairs = [(f"{target}_{h}d", served[target]["scores"].get(h), score) for h, score in told["scores"].items()]
        pairs += zip(names, served[target]["values"], told["values"], strict=True)
        # As text, in which every bit of a float shows.
        yield from (Mismatch(account_id, as_of, what, a, b) for what, a, b in pairs if repr(a) != repr(b))
