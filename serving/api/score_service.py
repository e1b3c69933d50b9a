"""Scores accounts by id and from posted histories, and describes the models behind the scores, apart from HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Self

import numpy as np

from features.core.contract import EVENTS
from features.core.errors import GarrisonError
from features.core.public_errors import describe_publicly
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
# Accounts whose whole answer is built in less time than a thread takes to start.
_FEW = 4


@dataclass(frozen=True)
class ScoreService:
    """One set of models with one snapshot; a new set or snapshot makes a new service, which replaces this one whole.

    Args:
        settings: The company's settings.
        scorer: The champions.
        snapshot: The newest snapshot.
        rescorer: Rescores accounts with events after the snapshot; None if their history is not at hand.
        sampler: Keeps a sample of served scores for the parity check.
    """

    settings: Settings
    scorer: Scorer
    snapshot: SnapshotStore
    rescorer: Rescorer | None = None
    sampler: ParitySampler | None = None

    @classmethod
    def load(
        cls,
        settings: Settings,
        store: Store | None = None,
        sampler: ParitySampler | None = None,
        scorer: Scorer | None = None,
    ) -> Self:
        """Load the newest snapshot, and the champions unless a scorer is given.

        Args:
            settings: The company's settings.
            store: The state database, where posted events lie.
            sampler: Keeps a sample of served scores.
            scorer: By default the champions.

        Raises:
            GarrisonError: There is no champion, or something stored can't be read.
        """
        scorer = scorer or load_champions(settings)
        snapshot, rescorer = SnapshotStore.load(settings, scorer), None
        if store is not None and snapshot.as_of is not None:
            rescorer = Rescorer.open(settings, store, snapshot.history, snapshot.as_of)
        return cls(settings, scorer, snapshot, rescorer, sampler)

    def warm_up(self) -> None:
        """Score an account that does not exist, and explain it: the first time compiles both, which takes seconds."""
        account: PostedAccount = {"account": {"account_id": "-", "created_at": 0}}
        tables: PostedAccount = {t: [] for t in EVENTS if t in self.settings.tables}
        snapshot_store.prepare_posted(self.settings, self.scorer, [account | tables], datetime.now(UTC))
        for model in self.scorer.models.values():
            for horizon in model.horizons:
                model.contributions(np.full((1, len(model.features)), np.nan), horizon)

    def is_quick(self, request: ScoreRequest) -> bool:
        """Return whether a request takes less time than a thread takes to start: by id, with next to no computation."""
        ids = [item for item in request.items if isinstance(item, str)]
        if len(ids) < len(request.items) or (self.rescorer is not None and self.rescorer.has_new_events(ids)):
            return False
        if request.detail == "scores":
            return True
        places = [self.snapshot.index[account_id] for account_id in ids if account_id in self.snapshot.index]
        return len(ids) <= _FEW and self._responses.is_ready(places, with_drivers=request.detail == "drivers")

    def score(self, request: ScoreRequest) -> dict[str, list[Item]]:
        """Return every item's scores, or what was wrong with it; the shape is `ScoreResponse`."""
        items: dict[int, Item] = {}
        for i, item in enumerate(request.items):
            if isinstance(item, RejectedAccount):
                items[i] = _rejected_item(item)
        by_id = {i: item for i, item in enumerate(request.items) if isinstance(item, str)}
        items |= self._score_by_id(by_id, request.as_of, request.detail)
        as_of = request.as_of or datetime.now(UTC)
        for group in _group_by_tables({i: item for i, item in enumerate(request.items) if isinstance(item, dict)}):
            items |= self._score_posted(group, as_of, request.detail)
        return {"results": [items[i] for i in range(len(request.items))]}

    def score_account(self, account_id: str) -> Item:
        """Return the scores of one account at the newest snapshot; the shape is `AccountScores`.

        Raises:
            ApiError: There is no such account, or no snapshot (404); or its events can't be read now (503).
        """
        item = self._score_by_id({0: account_id}, None, "drivers")[0]
        if "error" in item and item["error"]["code"] == "not_scored":
            message = item["error"]["message"]
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message, headers={"retry-after": "5"})
        if "error" in item:
            raise ApiError(HTTPStatus.NOT_FOUND, item["error"]["code"], item["error"]["message"])
        return item

    def describe_models(self) -> Item:
        """Return the models that score, and the snapshot behind scores by id; the shape is `ModelsResponse`."""
        rows, as_of = self.snapshot.rows, self.snapshot.as_of
        snapshot = None
        if rows is not None and as_of is not None:
            snapshot = {"as_of": as_of, "accounts": len(rows), "sources": rows.sources}
        return {
            "models": {target: _model_card(self.scorer, target) for target in self.scorer.models},
            "catalog": self.scorer.catalog.version,
            "snapshot": snapshot,
        }

    def _score_by_id(self, items: Mapping[int, str], as_of: datetime | None, detail: Detail) -> dict[int, Item]:
        """Return the items of accounts by id: rescored if they have new events, else from the snapshot."""
        snapshot, rows = self.snapshot, self.snapshot.rows
        if rows is None or snapshot.as_of is None:
            message = "no snapshot is stored to score ids from: run python -m serving score"
            return {i: _error_item(account_id, "no_snapshot", message) for i, account_id in items.items()}
        if as_of not in {None, snapshot.as_of}:
            message = f"ids are scored at the newest snapshot, {snapshot.as_of.isoformat()}: leave as_of out"
            return {i: _error_item(account_id, "other_as_of", message) for i, account_id in items.items()}
        rescored = self._rescore(items, detail) if as_of is None else {}
        known = {i: snapshot.index[name] for i, name in items.items() if i not in rescored and name in snapshot.index}
        places = list(known.values())
        stored = self._build_items(rows, places, detail, is_stored=True)
        if self.sampler:
            self.sampler.offer(self.scorer, rows, places=places, history=snapshot.history, position=snapshot.position)
        unknown = {
            i: _error_item(account_id, "unknown_account", "there is no such account in the newest snapshot")
            for i, account_id in items.items()
            if i not in known and i not in rescored
        }
        return unknown | rescored | dict(zip(known, stored, strict=True))

    def _rescore(self, items: Mapping[int, str], detail: Detail) -> dict[int, Item]:
        """Return the items of accounts with events after the snapshot, from their whole history."""
        rescored: dict[int, Item] = {}
        if self.rescorer is None or not self.rescorer.has_new_events(items.values()):
            return rescored
        for i, account_id in items.items():
            try:
                account = self.rescorer.rescore(self.scorer, account_id)
            except Exception as error:  # noqa: BLE001  # whatever it is, the other accounts get their scores
                rescored[i] = _error_item(account_id, "not_scored", _describe_error(error))
                continue
            if account is not None:
                (rescored[i],) = self._build_items(account.rows, [0], detail, is_stored=False)
                if self.sampler:
                    key = self.snapshot.history
                    self.sampler.offer(self.scorer, account.rows, places=[0], history=key, position=account.position)
        return rescored

    def _score_posted(self, items: Mapping[int, PostedAccount], as_of: datetime, detail: Detail) -> dict[int, Item]:
        """Return the items of posted accounts with the same tables, from one query; one by one if that fails."""
        try:
            rows = snapshot_store.prepare_posted(self.settings, self.scorer, list(items.values()), as_of)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other accounts get their scores
            if len(items) > 1:
                singles: dict[int, Item] = {}
                for i, item in items.items():
                    singles |= self._score_posted({i: item}, as_of, detail)
                return singles
            ((i, item),) = items.items()
            return {i: _error_item(item["account"]["account_id"], "not_scored", _describe_error(error))}
        built = self._build_items(rows, range(len(rows)), detail, is_stored=False)
        scored = dict(zip(rows.account_ids, built, strict=True))
        if self.sampler:
            posted = {item["account"]["account_id"]: item for item in items.values()}
            self.sampler.offer(self.scorer, rows, places=range(len(rows)), posted=posted)
        account_ids = {i: item["account"]["account_id"] for i, item in items.items()}
        return {i: scored.get(account_id) or _too_young_item(account_id) for i, account_id in account_ids.items()}

    def _build_items(
        self, rows: PreparedSnapshots, places: Sequence[int], detail: Detail, *, is_stored: bool
    ) -> list[Item]:
        if detail == "scores":
            return self._responses.build_scores(rows, places, is_stored=is_stored)
        return self._responses.build_advice(rows, places, is_stored=is_stored, with_drivers=detail == "drivers")

    @cached_property
    def _responses(self) -> ResponseBuilder:
        return ResponseBuilder(self.settings, self.scorer, self.snapshot)


def _group_by_tables(items: Mapping[int, PostedAccount]) -> list[dict[int, PostedAccount]]:
    """Return the items in groups that have the same tables."""
    groups: dict[tuple[str, ...], dict[int, PostedAccount]] = {}
    for i, item in items.items():
        groups.setdefault(tuple(t for t in EVENTS if t in item), {})[i] = item
    return list(groups.values())


def _error_item(account_id: str, code: str, message: str) -> Item:
    return {"account_id": account_id, "error": {"code": code, "message": message, "details": []}}


def _rejected_item(item: RejectedAccount) -> Item:
    return {"account_id": item.account_id, "error": item.error.model_dump()}


def _too_young_item(account_id: str) -> Item:
    return _error_item(account_id, "too_young", "the account was created at or after as_of: it has no history yet")


def _describe_error(error: Exception) -> str:
    """Return the message for an account that could not be scored; its rows stay out of the log."""
    if isinstance(error, GarrisonError):
        _log.warning("an account could not be scored: %s", error)
        return describe_publicly(error)
    _log.warning("an account could not be scored: %s", type(error).__name__)
    return "its rows could not be scored: a value is out of all proportion"


def _model_card(scorer: Scorer, target: str) -> Item:
    """Return the description of a target's model; its shape is `ModelCard`."""
    bundle = scorer.models[target]
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
