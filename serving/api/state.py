"""What one server process holds: the company's settings, its keys, and the models and snapshot that answer."""

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
from features.core.timestamps import from_micros
from features.settings import Settings, load
from features.state import database
from features.state.database import Store
from serving.api import environment
from serving.api.auth import Keyring
from serving.api.score_service import ScoreService
from serving.parity.sampler import ParitySampler
from serving.schemas import event_requests
from serving.schemas.score_requests import ScoreRequest, ScoreRequestReader
from serving.scoring import score_table
from serving.scoring.scorer import Scorer
from training.models.model import Bundle
from training.registry import promotion_log

_log = logging.getLogger("bentoml.garrison")
# Seconds after which new keys, models and snapshots are looked for; so long may a revoked key still be served.
REFRESH_SECONDS = 5.0
FileVersions = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ScoringContext:
    """A room that can be asked."""

    reader: ScoreRequestReader
    score_service: ScoreService
    store: Store

    def account(self, account_id: str) -> dict[str, Any]:
        """One account's scores, and those stored of it, newest first.

        Raises:
            Refusal: There is no such account.
        """
        now = self.score_service.account(account_id)
        before = [
            {
                "as_of": from_micros(row["as_of"]),
                "target": row["target"],
                "horizon": row["horizon"],
                "score": row["score"],
                "model": row["model"],
            }
            for row in self.store.account_scores(account_id)
        ]
        return now | {"history": before}

    def model(self, fallbacks: Mapping[str, str]) -> dict[str, Any]:
        """The models that score now, each with why it stands in for the champion, where it does."""
        found = self.score_service.model()
        for target, why in fallbacks.items():
            found["models"][target]["fallback"] = why
        return found

    @cached_property
    def unseen(self) -> dict[tuple[str, str], int]:
        """By target and text column, the snapshot's accounts with a value that the model never saw in training."""
        rows, found = self.score_service.online.rows, {}
        for target, column, values in self._coded():
            if rows is not None and column in rows.texts:
                there = pd.Series(rows.texts[column])
                found[target, column] = int((there.notna() & ~there.isin(values)).sum())
        return found

    def unseen_posted(self, asked: ScoreRequest) -> Iterator[tuple[str, str]]:
        """Target and text column of each posted value that the model never saw in training."""
        for item in asked.items:
            if isinstance(item, dict):
                for target, column, values in self._coded():
                    value = item["account"].get(column)
                    if value is not None and value not in values:
                        yield target, column

    def _coded(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        for target, bundle in self.score_service.scorer.bundles.items():
            for column, values in bundle.categories.items():
                yield target, column, values


@dataclass(frozen=True)
class AppState:
    """A server process's state. It opens whatever is missing, and says what: a server must come up to tell.

    Args:
        config: The settings file.
        settings: What it says; None where it can't be read.
        store: The state database; None where it can't be opened.
        keyring: Who may ask; None as well then.
        events: Reads what is posted to the log of events; None as well then.
        sampler: Keeps some of what is served, for the parity check; None as well then.
        desk: Answers; None where there is trouble.
        trouble: Why nothing can be scored, None where all is well.
        fallbacks: By target, why the model before the champion serves in its place.
        seen: What the models and the snapshot were read from.
        looked_at: When, by the monotonic clock.
    """

    config: str
    looked_at: float
    settings: Settings | None = None
    store: Store | None = None
    keyring: Keyring | None = None
    events: event_requests.EventRequestReader | None = None
    sampler: ParitySampler | None = None
    scoring: ScoringContext | None = None
    problem: str | None = None
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    seen: FileVersions = ()

    @classmethod
    def open(cls, config: str) -> Self:
        """With what the settings in the file `config` point to."""
        room = cls(config, time.monotonic())
        try:
            settings = load.load_settings(Path(config))
            room = replace(room, settings=settings, seen=_seen(settings))
            opened = database.open(settings)
            room = replace(
                room, store=opened, keyring=Keyring(opened), events=event_requests.EventRequestReader(settings)
            )
            room = replace(room, sampler=_sampler(settings, opened))
            answers, fallbacks = _answers(room)
        except GarrisonError as error:
            _log.warning("nothing can be scored: %s", error)
            return replace(room, problem=str(error))
        return replace(room, scoring=ScoringContext(ScoreRequestReader(settings), answers, opened), fallbacks=fallbacks)

    def close(self) -> None:
        """Have written what waits, and give back what it holds."""
        if self.sampler is not None:
            self.sampler.close()
        if self.store is not None:
            self.store.close()

    @property
    def is_stale(self) -> bool:
        """Whether it is time to look for new keys, models and snapshots."""
        return time.monotonic() - self.looked_at > REFRESH_SECONDS

    def refreshed(self) -> Self:
        """This room with the keys, models and snapshot of now; what can't be read stays as it was. Takes a while."""
        now = time.monotonic()
        if self.scoring is None or self.keyring is None:
            self.close()
            return type(self).open(self.config)
        settings, desk, fallbacks = self.scoring.score_service.settings, self.scoring, self.fallbacks
        try:
            self.keyring.refresh()
            seen = _seen(settings)
            if seen != self.seen:
                answers, fallbacks = _answers(self)
                desk = replace(desk, score_service=answers)
        except GarrisonError as error:
            _log.warning("what was read before stays in force: %s", error)
            return replace(self, looked_at=now)
        if desk is not self.scoring:
            _log.info("new models or a new snapshot are in force")
        return replace(self, scoring=desk, fallbacks=fallbacks, seen=seen, looked_at=now)


def _sampler(settings: Settings, opened: Store) -> ParitySampler:
    """That of one of the workers, who share the day's sample."""
    return ParitySampler(opened, max(1, settings.serving.parity_sample // environment.worker_count()))


def _answers(room: AppState) -> tuple[ScoreService, dict[str, str]]:
    """Answers of the champions; of the champion before, and why, for a target whose champion can't be read.

    Raises:
        GarrisonError: Neither can be read, or there is none, or the snapshot can't be read.
    """
    assert room.settings is not None  # it has been read by now
    fallbacks: dict[str, str] = {}
    try:
        answers = ScoreService.load(room.settings, room.store, room.sampler)
    except RegistryError:
        bundles, fallbacks = _readable(room.settings)
        if not fallbacks:
            raise
        scorer = Scorer(bundles, Catalog.of(room.settings))
        answers = ScoreService.load(room.settings, room.store, room.sampler, scorer)
    _use(answers.scorer)
    return answers, fallbacks


def _use(scorer: Scorer) -> None:
    """Have made now what is made at first use, and would keep the first request waiting: boosters, a fingerprint."""
    for bundle in scorer.bundles.values():
        bundle.probabilities(np.full((1, len(bundle.features)), np.nan))
    _log.debug("features %s", scorer.catalog.version)


def _readable(settings: Settings) -> tuple[dict[str, Bundle], dict[str, str]]:
    bundles, fallbacks = {}, {}
    for target, champion in promotion_log.current(settings).items():
        if target not in settings.targets:
            continue
        try:
            bundles[target] = promotion_log.bundle(settings, champion)
        except RegistryError as error:
            try:
                before = promotion_log.before(settings, target)
                bundles[target] = promotion_log.bundle(settings, before)
            except RegistryError:
                raise error from None
            fallbacks[target] = f"{champion.version} can't be read, {before.version} serves: {error}"
            _log.warning("%s", fallbacks[target])
    return bundles, fallbacks


def _seen(settings: Settings) -> FileVersions:
    """The files behind the answers, and when they were written: any change means new models or a new snapshot."""
    models = [settings.paths.mlruns / p.bundle / "bundle.json" for p in promotion_log.current(settings).values()]
    newest = score_table.find_newest(settings)
    files = [promotion_log.file(settings), *models, *([newest] if newest else [])]
    return tuple((str(file), file.stat().st_mtime_ns) for file in files if file.exists())
