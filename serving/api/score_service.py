"""What the HTTP service answers, apart from HTTP: scores by id and of posted histories, and the models behind them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Self

from features.core.contract import EVENTS
from features.core.errors import GarrisonError
from features.settings import Settings
from features.state.database import Store
from serving.api.serialization import Item, ResponseBuilder
from serving.events.rescoring import Rescorer
from serving.parity.sampler import ParitySampler
from serving.schemas.errors import ApiError
from serving.schemas.responses import Detail
from serving.schemas.score_requests import PostedAccount, RejectedAccount, ScoreRequest
from serving.scoring import snapshot_store
from serving.scoring.scorer import PreparedSnapshots, Scorer, load_champions
from serving.scoring.snapshot_store import SnapshotStore

_log = logging.getLogger("bentoml.garrison")
# Accounts of which all is told in less time than a thread's turn takes.
_FEW = 4


@dataclass(frozen=True)
class ScoreService:
    """One set of models and one snapshot; another set makes another of these, and takes its place whole.

    Args:
        settings: The company's.
        scorer: The champions.
        online: The newest snapshot.
        fresh: The accounts with events after it; None where nothing of that kind is looked for.
        sampler: Keeps some of what is served, for the parity check.
    """

    settings: Settings
    scorer: Scorer
    online: SnapshotStore
    rescorer: Rescorer | None = None
    sampler: ParitySampler | None = None

    @classmethod
    def load(
        cls,
        settings: Settings,
        opened: Store | None = None,
        sampler: ParitySampler | None = None,
        scorer: Scorer | None = None,
    ) -> Self:
        """With the newest snapshot.

        Args:
            settings: The company's.
            opened: The state database, to see posted events in.
            sampler: Keeps some of what is served.
            scorer: By default the champions.

        Raises:
            GarrisonError: There is no champion, or something stored can't be read.
        """
        scorer = scorer or load_champions(settings)
        snapshot, fresh = SnapshotStore.load(settings, scorer), None
        if opened is not None and snapshot.as_of is not None:
            fresh = Rescorer.of(settings, opened, snapshot.history, snapshot.as_of)
        return cls(settings, scorer, snapshot, fresh, sampler)

    def warm_up(self) -> None:
        """Score a posted account that nobody has: the first one has all features compiled, which takes a second."""
        account: PostedAccount = {"account": {"account_id": "-", "created_at": 0}}
        tables: PostedAccount = {t: [] for t in EVENTS if t in self.settings.tables}
        snapshot_store.prepare_posted(self.settings, self.scorer, [account | tables], datetime.now(UTC))

    def is_quick(self, asked: ScoreRequest) -> bool:
        """Whether it is answered faster than a thread's turn takes: by id, with next to nothing to be worked out."""
        ids = [item for item in asked.items if isinstance(item, str)]
        if len(ids) < len(asked.items) or (self.rescorer is not None and self.rescorer.has_new_events(ids)):
            return False
        if asked.detail == "scores":
            return True
        places = [self.online.index[name] for name in ids if name in self.online.index]
        return len(ids) <= _FEW and self._teller.ready(places, drivers=asked.detail == "drivers")

    def score(self, asked: ScoreRequest) -> dict[str, list[Item]]:
        """Every item's scores, or what was wrong with it; its shape is `responses.Results`."""
        items: dict[int, Item] = {}
        for i, item in enumerate(asked.items):
            if isinstance(item, RejectedAccount):
                items[i] = _refused(item)
        by_id = {i: item for i, item in enumerate(asked.items) if isinstance(item, str)}
        items |= self._by_id(by_id, asked.as_of, asked.detail)
        as_of = asked.as_of or datetime.now(UTC)
        for group in _same_tables({i: item for i, item in enumerate(asked.items) if isinstance(item, dict)}):
            items |= self._posted(group, as_of, asked.detail)
        return {"results": [items[i] for i in range(len(asked.items))]}

    def account(self, account_id: str) -> Item:
        """The scores of one account at the newest snapshot; its shape is `responses.Scored`.

        Raises:
            Refusal: There is no such account, or no snapshot.
        """
        item = self._by_id({0: account_id}, None, "drivers")[0]
        if "error" in item:
            raise ApiError(HTTPStatus.NOT_FOUND, item["error"]["code"], item["error"]["message"])
        return item

    def model(self) -> Item:
        """The models that score now, and the snapshot behind scores by id; its shape is `responses.Models`."""
        rows = self.online.rows
        return {
            "models": {target: _card(self.scorer, target) for target in self.scorer.bundles},
            "catalog": self.scorer.catalog.version,
            "snapshot": None
            if rows is None or self.online.as_of is None
            else {"as_of": self.online.as_of, "accounts": len(rows), "sources": rows.sources},
        }

    def _by_id(self, items: Mapping[int, str], as_of: datetime | None, detail: Detail) -> dict[int, Item]:
        snapshot, rows = self.online, self.online.rows
        if rows is None or snapshot.as_of is None:
            why = "no snapshot is stored to score ids from: run python -m serving score"
            return {i: _failed(name, "no_snapshot", why) for i, name in items.items()}
        if as_of not in {None, snapshot.as_of}:
            why = f"ids are scored at the newest snapshot, {snapshot.as_of.isoformat()}: leave as_of out"
            return {i: _failed(name, "other_as_of", why) for i, name in items.items()}
        anew = self._anew(items, detail) if as_of is None else {}
        known = {i: snapshot.index[name] for i, name in items.items() if i not in anew and name in snapshot.index}
        places = list(known.values())
        found = self._told(rows, places, detail, stored=True)
        if self.sampler:
            self.sampler.offer(self.scorer, rows, places=places, history=snapshot.history, position=snapshot.position)
        unknown = {
            i: _failed(name, "unknown_account", "there is no such account in the newest snapshot")
            for i, name in items.items()
            if i not in known and i not in anew
        }
        return unknown | anew | dict(zip(known, found, strict=True))

    def _anew(self, items: Mapping[int, str], detail: Detail) -> dict[int, Item]:
        """The items of accounts with events after the snapshot, from their whole history."""
        found: dict[int, Item] = {}
        if self.rescorer is None or not self.rescorer.has_new_events(items.values()):
            return found
        for i, name in items.items():
            try:
                anew = self.rescorer.rescore(self.scorer, name)
            except Exception as error:  # noqa: BLE001  # whatever it is, the other accounts get their scores
                found[i] = _failed(name, "not_scored", _why(error))
                continue
            if anew is not None:
                (found[i],) = self._told(anew.rows, [0], detail, stored=False)
                if self.sampler:
                    key = self.online.history
                    self.sampler.offer(self.scorer, anew.rows, places=[0], history=key, position=anew.position)
        return found

    def _posted(self, items: Mapping[int, PostedAccount], as_of: datetime, detail: Detail) -> dict[int, Item]:
        """Posted accounts that give the same tables, in one query; one by one where that fails."""
        try:
            rows = snapshot_store.prepare_posted(self.settings, self.scorer, list(items.values()), as_of)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other accounts get their scores
            if len(items) > 1:
                found: dict[int, Item] = {}
                for i, item in items.items():
                    found |= self._posted({i: item}, as_of, detail)
                return found
            ((i, item),) = items.items()
            return {i: _failed(item["account"]["account_id"], "not_scored", _why(error))}
        told = self._told(rows, range(len(rows)), detail, stored=False)
        scored = dict(zip(rows.account_ids, told, strict=True))
        if self.sampler:
            posted = {item["account"]["account_id"]: item for item in items.values()}
            self.sampler.offer(self.scorer, rows, places=range(len(rows)), posted=posted)
        return {i: scored.get(name) or _too_young(name) for i, name in _names(items).items()}

    def _told(self, rows: PreparedSnapshots, places: Sequence[int], detail: Detail, *, stored: bool) -> list[Item]:
        """Items of the rows at these places."""
        if detail == "scores":
            return self._teller.scores(rows, places, stored=stored)
        return self._teller.advice(rows, places, stored=stored, drivers=detail == "drivers")

    @cached_property
    def _teller(self) -> ResponseBuilder:
        return ResponseBuilder(self.settings, self.scorer, self.online)


def _same_tables(items: Mapping[int, PostedAccount]) -> list[dict[int, PostedAccount]]:
    groups: dict[tuple[str, ...], dict[int, PostedAccount]] = {}
    for i, item in items.items():
        groups.setdefault(tuple(t for t in EVENTS if t in item), {})[i] = item
    return list(groups.values())


def _names(items: Mapping[int, PostedAccount]) -> dict[int, str]:
    return {i: item["account"]["account_id"] for i, item in items.items()}


def _failed(account_id: str, code: str, message: str) -> Item:
    return {"account_id": account_id, "error": {"code": code, "message": message, "details": []}}


def _refused(item: RejectedAccount) -> Item:
    return {"account_id": item.account_id, "error": item.error.model_dump()}


def _too_young(account_id: str) -> Item:
    return _failed(account_id, "too_young", "the account was created at or after as_of: it has no history yet")


def _why(error: Exception) -> str:
    """What to say of an error in scoring one posted account; its rows stay out of the log."""
    if isinstance(error, GarrisonError):
        return str(error)
    _log.warning("a posted account could not be scored: %s", type(error).__name__)
    return "its rows could not be scored: a value is out of all proportion"


def _card(scorer: Scorer, target: str) -> Item:
    bundle = scorer.bundles[target]
    return {
        "version": bundle.version,
        "run_id": bundle.run_id,
        "trained_at": bundle.trained_at,
        "horizons": bundle.horizons,
        "base_rates": {f"{h}d": bundle.base_rates[h] for h in bundle.horizons},
        "sources": bundle.sources,
        "catalog": bundle.catalog,
        "features": bundle.features,
    }
