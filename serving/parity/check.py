"""Recomputes the sample of served scores offline and compares them to the last bit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from features.catalog import Catalog
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import PARITY_RUNS, SERVED
from serving.events import rescoring
from serving.parity import sampler
from serving.scoring import snapshot_store
from serving.scoring.scorer import PreparedSnapshots, Scorer
from training.models.model import Model
from training.registry import promotion_log

_KEEP_DAYS = 30  # for checked scores
_BATCH = 200  # accounts recomputed at once


@dataclass(frozen=True)
class Mismatch:
    """A score or a feature that differs offline.

    Args:
        account_id: Of the account.
        as_of: Of the score.
        what: The score, such as churn_90d, or target and feature.
        served: The served value; None if missing.
        offline: The value offline; None if missing, or if the account has no row.
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
class ParityResult:
    """The result of a parity check.

    Args:
        run_at: Of the check.
        checked: Served scores that were recomputed.
        skipped: By reason, served scores that could not be recomputed.
        mismatches: All differences.
        accounts: Served scores that differ in anything.
    """

    run_at: datetime
    checked: int
    skipped: dict[str, int] = field(default_factory=dict)
    mismatches: tuple[Mismatch, ...] = ()
    accounts: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON, instants in ISO."""
        mismatches = [asdict(m) | {"as_of": m.as_of.isoformat()} for m in self.mismatches]
        return vars(self) | {"run_at": self.run_at.isoformat(), "mismatches": mismatches}


def check_parity(settings: Settings, store: Store, *, now: datetime | None = None) -> ParityResult:
    """Recompute the served scores that are not checked yet, and store the result.

    Args:
        settings: The company's settings.
        store: The state database.
        now: The instant of the check; by default the present.

    Raises:
        GarrisonError: Something stored can't be read.
    """
    at = now or datetime.now(UTC)
    with store.reading() as connection:
        query = sa.select(SERVED).where(SERVED.c.checked_at.is_(None)).order_by(SERVED.c.served_at)
        served = [dict(row) for row in connection.execute(query).mappings()]
    checker, mismatches = _Checker(settings, store), []
    skip_reasons = {row["served_id"]: checker.find_skip_reason(row) for row in served}
    statuses = {served_id: reason for served_id, reason in skip_reasons.items() if reason}
    for rows in _group_alike(row for row in served if row["served_id"] not in statuses):
        for served_id, differences in checker.find_mismatches(rows):
            mismatches += differences
            statuses[served_id] = "mismatch" if differences else "same"
    checker.close()
    skipped = [status for status in statuses.values() if status not in {"same", "mismatch"}]
    reasons = {reason: skipped.count(reason) for reason in sorted(set(skipped))}
    wrong = sum(status == "mismatch" for status in statuses.values())
    _store_result(store, at, statuses, mismatches=wrong, checked=len(statuses) - len(skipped))
    return ParityResult(at, len(statuses) - len(skipped), reasons, tuple(mismatches), wrong)


def _store_result(store: Store, at: datetime, statuses: Mapping[str, str], *, mismatches: int, checked: int) -> None:
    """Store the result of a check and the status of each score, and delete scores that were checked long ago."""
    with store.writing() as connection:
        run = {"run_at": to_micros(at), "checked": checked, "mismatches": mismatches}
        connection.execute(sa.insert(PARITY_RUNS).values(run))
        by_id = SERVED.c.served_id == sa.bindparam("id")
        update = sa.update(SERVED).where(by_id).values(checked_at=to_micros(at), fate=sa.bindparam("status"))
        if statuses:
            connection.execute(update, [{"id": served_id, "status": status} for served_id, status in statuses.items()])
        oldest = to_micros(at - timedelta(days=_KEEP_DAYS))
        connection.execute(sa.delete(SERVED).where(SERVED.c.checked_at < oldest))


def _group_alike(served: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield scores that can be recomputed at once: by id, from the same history at the same instant."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in served:
        models = tuple((target, captured["model"]) for target, captured in json.loads(row["told"]).items())
        key = row["served_id"] if row["posted"] else (row["history"], row["position"], row["as_of"], models)
        groups.setdefault(key, []).append(row)
    for rows in groups.values():
        yield from (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))


class _Checker:
    """Recomputes served scores from what is on disk alone."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._catalog = Catalog.for_company(settings)
        self._bundle = cache(self._load_model)
        self._histories: dict[str, History | None] = {}

    def find_skip_reason(self, row: Mapping[str, Any]) -> str | None:
        """Return why a score can't be recomputed; None if it can."""
        if row["catalog"] != self._catalog.version:
            return "the features are defined otherwise since"
        captured = json.loads(row["told"])
        if any(self._bundle(target, scores["model"]) is None for target, scores in captured.items()):
            return "a model is gone"
        if row["posted"] is None and self._history(row["history"]) is None:
            return "the history behind it is gone"
        return None

    def find_mismatches(self, served: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mismatch]]]:
        """Yield, by served_id, what differs in scores that can be recomputed at once."""
        bundles = {target: self._bundle(target, t["model"]) for target, t in json.loads(served[0]["told"]).items()}
        scorer = Scorer({t: b for t, b in bundles.items() if b is not None}, self._catalog)
        rows = self._rows(scorer, served)
        places = {account_id: place for place, account_id in enumerate(rows.account_ids)}
        for row in served:
            place = places.get(row["account_id"])
            offline = {} if place is None else sampler.capture_scores(scorer, rows, place)
            yield row["served_id"], list(_compare(scorer, row, offline))

    def _rows(self, scorer: Scorer, served: Sequence[Mapping[str, Any]]) -> PreparedSnapshots:
        row, as_of = served[0], from_micros(served[0]["as_of"])
        if row["posted"] is not None:
            return snapshot_store.prepare_posted(
                self._settings, scorer, [sampler.parse_posted(self._settings, row["posted"])], as_of
            )
        history = self._history(row["history"])
        if history is None:
            message = "the history is gone, although `find_skip_reason` found it"
            raise LookupError(message)
        accounts = sorted({row["account_id"] for row in served})
        with self._store.reading() as connection:
            revisions = rescoring.read_revisions(connection, history, accounts, until=row["position"])
        tables = rescoring.read_account_rows(self._settings, history, accounts, revisions)
        return snapshot_store.prepare_rows(self._settings, scorer, tables, as_of)

    def _load_model(self, target: str, version: str) -> Model | None:
        log = [p for p in promotion_log.read_promotions(self._settings) if (p.target, p.version) == (target, version)]
        return promotion_log.load_model(self._settings, log[-1]) if log else None

    def _history(self, key: str) -> History | None:
        if key not in self._histories:
            self._histories[key] = History.reopen(self._settings, key)
        return self._histories[key]

    def close(self) -> None:
        """Close the histories."""
        for history in self._histories.values():
            if history is not None:
                history.close()


def _compare(scorer: Scorer, row: Mapping[str, Any], offline: Mapping[str, Any]) -> Iterator[Mismatch]:
    """Yield what differs between a served score and the same offline; {} if the account has no row there."""
    account_id, as_of, served = row["account_id"], from_micros(row["as_of"]), json.loads(row["told"])
    if not offline:
        yield Mismatch(account_id, as_of, "the account", None, None)
    for target, captured in offline.items():
        names = (f"{target} {feature}" for feature in scorer.models[target].inputs)
        pairs = [(f"{target}_{h}d", served[target]["scores"].get(h), score) for h, score in captured["scores"].items()]
        pairs += zip(names, served[target]["values"], captured["values"], strict=True)
        # As text, in which every bit of a float shows.
        yield from (Mismatch(account_id, as_of, name, a, b) for name, a, b in pairs if repr(a) != repr(b))
