"""The parity check: a sample of the scores that were served, worked out again offline and compared to the last bit."""

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

_CHECKED_DAYS = 30  # that what was checked is kept
_AT_ONCE = 200  # accounts


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
class ParityResult:
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


def check_parity(settings: Settings, opened: Store, *, now: datetime | None = None) -> ParityResult:
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
    hindrances = {row["served_id"]: checker.find_skip_reason(row) for row in served}
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
    return ParityResult(at, len(fates) - len(skipped), reasons, tuple(mismatches), wrong)


def _write(opened: Store, at: datetime, fates: Mapping[str, str], *, mismatches: int, checked: int) -> None:
    with opened.writing() as connection:
        run = {"run_at": to_micros(at), "checked": checked, "mismatches": mismatches}
        connection.execute(sa.insert(PARITY_RUNS).values(run))
        mine = SERVED.c.served_id == sa.bindparam("id")
        told = sa.update(SERVED).where(mine).values(checked_at=to_micros(at), fate=sa.bindparam("what"))
        if fates:
            connection.execute(told, [{"id": served, "what": fate} for served, fate in fates.items()])
        old = to_micros(at - timedelta(days=_CHECKED_DAYS))
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
        self._catalog = Catalog.for_company(settings)
        self._bundle = cache(self._loaded)
        self._histories: dict[str, History | None] = {}

    def find_skip_reason(self, row: Mapping[str, Any]) -> str | None:
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
            offline = {} if place is None else sampler.capture_scores(scorer, rows, place)
            yield row["served_id"], list(_different(scorer, row, offline))

    def _rows(self, scorer: Scorer, served: Sequence[Mapping[str, Any]]) -> PreparedSnapshots:
        row, as_of = served[0], from_micros(served[0]["as_of"])
        if row["posted"] is not None:
            return snapshot_store.prepare_posted(
                self._settings, scorer, [sampler.parse_posted(self._settings, row["posted"])], as_of
            )
        history = self._history(row["history"])
        if history is None:
            message = "as `hindrance` has found, it is there"
            raise LookupError(message)
        accounts = sorted({row["account_id"] for row in served})
        with self._store.reading() as connection:
            came = rescoring.read_revisions(connection, history, accounts, until=row["position"])
        tables = rescoring.read_account_rows(self._settings, history, accounts, came)
        return snapshot_store.prepare_rows(self._settings, scorer, tables, as_of)

    def _loaded(self, target: str, version: str) -> Model | None:
        log = [p for p in promotion_log.read_promotions(self._settings) if (p.target, p.version) == (target, version)]
        return promotion_log.load_model(self._settings, log[-1]) if log else None

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
    account_id, as_of, served = row["account_id"], from_micros(row["as_of"]), json.loads(row["told"])
    if not offline:
        yield Mismatch(account_id, as_of, "the account", None, None)
    for target, told in offline.items():
        names = (f"{target} {feature}" for feature in scorer.bundles[target].features)
        pairs = [(f"{target}_{h}d", served[target]["scores"].get(h), score) for h, score in told["scores"].items()]
        pairs += zip(names, served[target]["values"], told["values"], strict=True)
        # As text, in which every bit of a float shows.
        yield from (Mismatch(account_id, as_of, what, a, b) for what, a, b in pairs if repr(a) != repr(b))
