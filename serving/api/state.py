"""Holds what one server process scores with: settings, keys, models and the newest snapshot; reloads what changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from features.catalog import Catalog
from features.core.errors import GarrisonError, RegistryError
from features.core.public_errors import describe_publicly
from features.core.timestamps import from_micros
from features.settings import Settings, load
from features.state import database
from features.state.database import Store
from serving.api import environment
from serving.api.auth import Keyring
from serving.api.score_service import ScoreService
from serving.pacing import DueTimer
from serving.parity.sampler import ParitySampler
from serving.schemas import event_requests
from serving.schemas.responses import StoredScore
from serving.schemas.score_requests import ScoreRequest, ScoreRequestReader
from serving.scoring import score_table
from serving.scoring.account_list import AccountList
from serving.scoring.scorer import Scorer
from training.models.model import Model
from training.registry import promotion_log

_log = logging.getLogger("bentoml.garrison")
# Between looks for new keys, models and snapshots; a revoked key may be served for so long.
REFRESH_SECONDS = 5.0
FileVersions = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ScoringContext:
    """What it takes to score: a reader of requests, a score service, and the state database."""

    reader: ScoreRequestReader
    score_service: ScoreService
    store: Store

    def get_account(self, account_id: str) -> dict[str, Any]:
        """Return an account's scores and those stored of it, newest first; its shape is `AccountResponse`.

        Raises:
            ApiError: There is no such account.
        """
        item = self.score_service.score_account(account_id)
        history = [
            {name: row[name] for name in StoredScore.model_fields} | {"as_of": from_micros(row["as_of"])}
            for row in self.store.account_scores(account_id)
        ]
        return item | {"history": history}

    @cached_property
    def account_list(self) -> AccountList | None:
        """Return the customers of the newest scores, for lists; None before there are stored scores."""
        scores = self.score_service.snapshot.scores
        return None if scores is None else AccountList(self.score_service.settings, scores)

    def describe_models(self, fallbacks: Mapping[str, str]) -> dict[str, Any]:
        """Return the models that score, each with the reason if it stands in for the champion.

        Args:
            fallbacks: By target, why the champion does not score.
        """
        models = self.score_service.describe_models()
        for target, why in fallbacks.items():
            models["models"][target]["fallback"] = why
        return models

    @cached_property
    def unseen(self) -> dict[tuple[str, str], int]:
        """Return, by target and text column, how many accounts have a value that the model never saw in training."""
        rows, counts = self.score_service.snapshot.rows, {}
        for target, column, known_values in self._text_columns():
            if rows is not None and column in rows.texts:
                values = pd.Series(rows.texts[column])
                counts[target, column] = int((values.notna() & ~values.isin(known_values)).sum())
        return counts

    def find_unseen(self, request: ScoreRequest) -> Iterator[tuple[str, str]]:
        """Yield target and text column of each posted value that the model never saw in training."""
        for item in request.items:
            if isinstance(item, dict):
                for target, column, known_values in self._text_columns():
                    value = item["account"].get(column)
                    if value is not None and value not in known_values:
                        yield target, column

    def _text_columns(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield target, column and known values of each text column of each model."""
        for target, bundle in self.score_service.scorer.models.items():
            for column, values in bundle.categories.items():
                yield target, column, values


@dataclass(frozen=True)
class AppState:
    """A server process's state; it can be had even if something is missing, so that the server can say what.

    Args:
        config: The settings file.
        timer: When to look for new keys, models and snapshots.
        settings: Read from the file; None if it can't be read.
        store: The state database; None if it can't be opened.
        keyring: The valid keys; None as well then.
        events: Reads posted events; None as well then.
        sampler: Keeps a sample of served scores for the parity check; None as well then.
        scoring: Scores; None if there is a problem.
        problem: Why nothing can be scored, for strangers: without paths; None if all is well.
        fallbacks: By target, why the model before the champion serves in its place.
        versions: Of the files that models and snapshot were read from.
    """

    config: str
    timer: DueTimer
    settings: Settings | None = None
    store: Store | None = None
    keyring: Keyring | None = None
    events: event_requests.EventRequestReader | None = None
    sampler: ParitySampler | None = None
    scoring: ScoringContext | None = None
    problem: str | None = None
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    versions: FileVersions = ()

    @classmethod
    def open(cls, config: str) -> Self:
        """Load everything that a settings file points to; what fails becomes the state's problem."""
        state = cls(config, DueTimer(REFRESH_SECONDS, time.monotonic()))
        try:
            settings = load.load_settings(Path(config))
            state = replace(state, settings=settings, versions=_read_file_versions(settings))
            store = database.open(settings)
            events = event_requests.EventRequestReader(settings)
            state = replace(state, store=store, keyring=Keyring(store), events=events)
            # The workers share the day's sample.
            share = max(1, settings.serving.parity_sample // environment.worker_count())
            state = replace(state, sampler=ParitySampler(store, share))
            score_service, fallbacks = _load_score_service(settings, state)
        except GarrisonError as error:
            _log.warning("nothing can be scored: %s", error)
            return replace(state, problem=describe_publicly(error))
        scoring = ScoringContext(ScoreRequestReader(settings), score_service, store)
        return replace(state, scoring=scoring, fallbacks=fallbacks)

    def close(self) -> None:
        """Write what waits, and close the state database."""
        if self.sampler is not None:
            self.sampler.close()
        if self.store is not None:
            self.store.close()

    def refresh(self) -> Self:
        """Return this state with the newest keys, models and snapshot; what can't be read stays. Takes a while."""
        timer = DueTimer(REFRESH_SECONDS, time.monotonic())
        if self.scoring is None or self.keyring is None:
            self.close()
            return type(self).open(self.config)
        settings, scoring, fallbacks = self.scoring.score_service.settings, self.scoring, self.fallbacks
        try:
            self.keyring.refresh()
            versions = _read_file_versions(settings)
            if versions != self.versions:
                score_service, fallbacks = _load_score_service(settings, self)
                scoring = replace(scoring, score_service=score_service)
        except GarrisonError as error:
            _log.warning("reload failed, keeping the previous model and snapshot: %s", error)
            return replace(self, timer=timer)
        if scoring is not self.scoring:
            _log.info("a new model or snapshot was loaded")
        return replace(self, scoring=scoring, fallbacks=fallbacks, versions=versions, timer=timer)


def _load_score_service(settings: Settings, state: AppState) -> tuple[ScoreService, dict[str, str]]:
    """Load the champions and the newest snapshot.

    Returns:
        The service, and by target why the model before the champion serves, if the champion can't be read.

    Raises:
        GarrisonError: Neither can be read, there is no champion, or the snapshot can't be read.
    """
    fallbacks: dict[str, str] = {}
    try:
        score_service = ScoreService.load(settings, state.store, state.sampler)
    except RegistryError:
        bundles, fallbacks = _load_readable_models(settings)
        if not fallbacks:
            raise
        scorer = Scorer(bundles, Catalog.for_company(settings))
        score_service = ScoreService.load(settings, state.store, state.sampler, scorer)
    _warm_up(score_service.scorer)
    return score_service, fallbacks


def _warm_up(scorer: Scorer) -> None:
    """Build now what is built at first use (boosters, the catalog's version), so that no request waits for it."""
    for bundle in scorer.models.values():
        bundle.probabilities(np.full((1, len(bundle.features)), np.nan))
    _log.debug("catalog %s", scorer.catalog.version)


def _load_readable_models(settings: Settings) -> tuple[dict[str, Model], dict[str, str]]:
    """Load the champions, or the models before them; return them, and by target why a champion was replaced."""
    bundles, fallbacks = {}, {}
    for target, champion in promotion_log.read_current(settings).items():
        if target not in settings.targets:
            continue
        try:
            bundles[target] = promotion_log.load_model(settings, champion)
        except RegistryError as error:
            try:
                before = promotion_log.find_previous(settings, target)
                bundles[target] = promotion_log.load_model(settings, before)
            except RegistryError:
                raise error from None
            fallbacks[target] = f"{champion.version} can't be read, {before.version} serves"
            _log.warning("%s: %s", fallbacks[target], error)
    return bundles, fallbacks


def _read_file_versions(settings: Settings) -> FileVersions:
    """Return path and time of change of each file behind the scores; a change means a new model or snapshot."""
    models = [settings.paths.mlruns / p.bundle / "bundle.json" for p in promotion_log.read_current(settings).values()]
    newest = score_table.find_newest(settings)
    files = [promotion_log.locate_log(settings), *models, *([newest] if newest else [])]
    return tuple((str(file), file.stat().st_mtime_ns) for file in files if file.exists())
