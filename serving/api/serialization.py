"""Builds the JSON of scored accounts in the shape of `schemas.responses`, but without its models, for speed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from pydantic_core import from_json

from features.core.contract import EVENTS
from features.core.timestamps import from_micros
from features.settings import Settings
from serving.schemas.responses import ResponseDriver
from serving.scoring import score_table
from serving.scoring.advice import advise
from serving.scoring.drivers import find_drivers
from serving.scoring.score_table import ScoreTable
from serving.scoring.scorer import PreparedSnapshots, Scorer
from serving.scoring.snapshot_store import SnapshotStore
from training.decisions.value import Floats

# JSON in the shape of `AccountScores`.
Item = dict[str, Any]
_DRIVER_FIELDS = tuple(ResponseDriver.model_fields)


@dataclass(frozen=True)
class ResponseBuilder:
    """Builds response items; as immutable as the models and the snapshot that it knows.

    The batch's results of the snapshot are used as they stand, as long as the models are the same. All else is
    computed: posted histories, and after a change of champion everything until the next batch.

    Args:
        settings: The company's settings.
        scorer: The champions.
        snapshot: The newest stored snapshot, with the batch's results.
    """

    settings: Settings
    scorer: Scorer
    snapshot: SnapshotStore

    def build_scores(self, rows: PreparedSnapshots, places: Sequence[int], *, is_stored: bool) -> list[Item]:
        """Build the items of some rows with their probabilities alone.

        Args:
            rows: Of accounts.
            places: Of the rows wanted.
            is_stored: Whether they are rows of the stored snapshot; others are newer.
        """
        stored = self._stored_scores if is_stored else None
        score_places: Sequence[int] = places
        if stored is None:
            scores = self.scorer.probabilities({t: matrix[places] for t, matrix in rows.matrices.items()})
            stored, score_places = {n: scores[t][:, h] for n, t, h, _ in self._score_names}, range(len(places))
        sources, now = self._source_fields(rows.sources), time.time()
        return [
            _instant_fields(rows, place, now)
            | {"scores": {n: {"score": float(stored[n][i]), "model": v} for n, _, _, v in self._score_names}}
            | sources
            for i, place in zip(score_places, places, strict=True)
        ]

    def build_advice(
        self, rows: PreparedSnapshots, places: Sequence[int], *, is_stored: bool, with_drivers: bool
    ) -> list[Item]:
        """Build the items of some rows with all that is known of them.

        Args:
            rows: Of accounts.
            places: Of the rows wanted.
            is_stored: Whether they are rows of the stored snapshot; others are newer.
            with_drivers: Whether to add the drivers.
        """
        results = self.snapshot.scores
        if is_stored and self._stored_scores is not None and results is not None:
            scored = [results.table.slice(place, 1).to_pylist()[0] for place in places]
        else:
            scored = self._score(rows.take(places))
        sources, now, items = self._source_fields(rows.sources), time.time(), []
        drivers = self._find_drivers(rows, places, scored) if with_drivers else None
        for k, (place, row) in enumerate(zip(places, scored, strict=True)):
            previous = _PreviousResult.find(self.snapshot, rows, place, is_stored=is_stored)
            scores = {}
            for name, target, h, version in self._score_names:
                bundle = self.scorer.models[target]
                scores[name] = {
                    "score": row[name],
                    "model": version,
                    "low": row.get(f"{name}_low"),
                    "high": row.get(f"{name}_high"),
                    "base_rate": bundle.base_rates[bundle.horizons[h]],
                    "in_cohort": row[f"in_cohort_{target}"],
                    "level_unsure": bundle.is_level_unsure(int(rows.as_of[place]), bundle.horizons[h]),
                    "value": row[f"{name}_value"],
                    "trend": previous.get_trend(name, target, row[name]),
                    "drivers": None if drivers is None else drivers[name][k],
                }
            advice = _advice_fields(row) | {"tier": previous.tier}
            items.append(_instant_fields(rows, place, now) | {"scores": scores} | advice | sources)
        return items

    def is_ready(self, places: Sequence[int], *, with_drivers: bool) -> bool:
        """Return whether all is stored for these rows of the snapshot, so that nothing need be computed."""
        results = self.snapshot.scores
        if self._stored_scores is None or results is None:
            return False
        columns = [results.table[f"{name}_drivers"] for name, *_ in self._score_names] if with_drivers else []
        return all(column[place].is_valid for column in columns for place in places)

    def _score(self, rows: PreparedSnapshots) -> list[dict[str, Any]]:
        """Return what a batch would store of these rows, without drivers and trend."""
        scores = self.scorer.score(rows)
        advice = advise(self.settings, self.scorer, rows, scores)
        table = score_table.assemble_table(self.scorer, rows, scores, advice, {}, None)
        scored: list[dict[str, Any]] = table.to_pylist()
        return scored

    def _find_drivers(
        self, rows: PreparedSnapshots, places: Sequence[int], scored: Sequence[Mapping[str, Any]]
    ) -> dict[str, list[list[Item]]]:
        """Return by score the drivers of each row: those stored by the batch, or else computed now."""
        drivers: dict[str, list[list[Item]]] = {}
        for name, target, h, _ in self._score_names:
            bundle, texts = self.scorer.models[target], [row[f"{name}_drivers"] for row in scored]
            row_drivers = [[] if text is None else from_json(text) for text in texts]
            missing = [k for k, text in enumerate(texts) if text is None]
            if missing:
                scores = np.array([[scored[k][f"{target}_{days}d"] for days in bundle.horizons] for k in missing])
                missing_rows = rows.take([places[k] for k in missing])
                computed = find_drivers(bundle, missing_rows, scores, bundle.horizons[h])
                for k, of_row in zip(missing, computed, strict=True):
                    row_drivers[k] = [driver.as_dict() for driver in of_row]
            drivers[name] = [[_driver_item(driver) for driver in of_row] for of_row in row_drivers]
        return drivers

    @cached_property
    def _stored_scores(self) -> dict[str, Floats] | None:
        """Return the scores of the stored snapshot by name, if these very models gave them."""
        results = self.snapshot.scores
        versions = {target: bundle.version for target, bundle in self.scorer.models.items()}
        if results is None or results.model_versions != versions:
            return None
        return {name: results.table[name].to_numpy() for name, *_ in self._score_names}

    @cached_property
    def _score_names(self) -> list[tuple[str, str, int, str]]:
        """Return of every score its name, target, place among the horizons, and model version."""
        return [
            (f"{target}_{horizon}d", target, h, bundle.version)
            for target, bundle in self.scorer.models.items()
            for h, horizon in enumerate(bundle.horizons)
        ]

    def _source_fields(self, sources: tuple[str, ...]) -> Item:
        """Return the fields that are the same for all rows."""
        missing = {s for target in self.scorer.models for s in self.scorer.find_missing_sources(target, sources)}
        return {
            "catalog": self.scorer.catalog.version,
            "sources_seen": sources,
            "sources_missing": [s for s in EVENTS if s in missing],
        }


@dataclass(frozen=True)
class _PreviousResult:
    """One account's place in the results of the newest batch; no results if they are newer than the account's row."""

    results: ScoreTable | None
    place: int | None
    is_stored: bool

    @classmethod
    def find(cls, snapshot: SnapshotStore, rows: PreparedSnapshots, i: int, *, is_stored: bool) -> Self:
        results, place = snapshot.scores, snapshot.index.get(rows.account_ids[i])
        # A posted history may look from before the stored scores.
        is_later = results is not None and from_micros(int(rows.as_of[i])) > results.as_of
        return cls(results if is_stored or is_later else None, place, is_stored)

    @property
    def tier(self) -> str | None:
        """Return the account's tier."""
        if self.results is None or self.place is None:
            return None
        tier: str | None = self.results.table["tier"][self.place].as_py()
        return tier

    def get_trend(self, name: str, target: str, score: float) -> Item | None:
        """Return how the score has moved since the last one; its shape is `ScoreTrend`."""
        results = self.results
        if results is None or self.place is None or name not in results.score_names:
            return None
        source = results.previous if self.is_stored else results
        column = f"{name}_before" if self.is_stored else name
        before = results.table[column][self.place].as_py()
        if source is None or before is None:
            return None
        as_of, model = _format_instant(source.as_of), source.model_versions[target]
        return {"as_of": as_of, "score": before, "change": score - before, "model": model}


def _advice_fields(row: Mapping[str, Any]) -> Item:
    days = row["next_sale_days"]
    return {
        "value": row["value"],
        # None for an account outside the cohort: it is no customer at this instant.
        "recommendation": None if row["recommendation"] is None else _recommendation_item(row),
        "next_sale": None if days is None else {"days": days, "overdue": row["next_sale_overdue"]},
        "leaves_in_days": row["leaves_in_days"],
    }


def _recommendation_item(row: Mapping[str, Any]) -> Item:
    return {"do": row["recommendation"], "withheld": row["withheld"], "why": row["why"]}


def _instant_fields(rows: PreparedSnapshots, i: int, now: float) -> Item:
    us = int(rows.as_of[i])
    as_of = _format_instant(from_micros(us))
    return {"account_id": rows.account_ids[i], "as_of": as_of, "age_s": round(now - us / 1e6, 3)}


def _format_instant(instant: Any) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _driver_item(driver: Mapping[str, Any]) -> Item:
    return {field: driver[field] for field in _DRIVER_FIELDS}
