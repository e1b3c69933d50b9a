"""Scores as the HTTP service tells them: JSON in the shape of `schemas.responses`, made without going through it."""

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
from serving.scoring import score_table
from serving.scoring.advice import advise
from serving.scoring.drivers import find_drivers
from serving.scoring.score_table import ScoreTable
from serving.scoring.scorer import PreparedSnapshots, Scorer
from serving.scoring.snapshot_store import SnapshotStore
from training.decisions.value import Floats

# JSON in the shape of `responses.Scored`.
Item = dict[str, Any]


@dataclass(frozen=True)
class ResponseBuilder:
    """Tells scores; as immutable as the models and the snapshot that it knows.

    What the batch said of its snapshot is told as it stands, as long as the models are the same. All else is worked
    out: posted histories, and everything after a change of champion until the next batch.

    Args:
        settings: The company's.
        scorer: The champions.
        online: The newest stored snapshot, and what the batch said of it.
    """

    settings: Settings
    scorer: Scorer
    online: SnapshotStore

    def scores(self, rows: PreparedSnapshots, places: Sequence[int], *, stored: bool) -> list[Item]:
        """The probabilities alone of the rows at these places.

        Args:
            rows: Of accounts.
            places: Among them.
            stored: Whether they are rows of the stored snapshot; others are newer.
        """
        said = self._said if stored else None
        at: Sequence[int] = places
        if said is None:
            scores = self.scorer.probabilities({t: matrix[places] for t, matrix in rows.matrices.items()})
            said, at = {n: scores[t][:, h] for n, t, h, _ in self._names}, range(len(places))
        shared, now = self._shared(rows.sources), time.time()
        return [
            _when(rows, place, now)
            | {"scores": {n: {"score": float(said[n][i]), "model": v} for n, _, _, v in self._names}}
            | shared
            for i, place in zip(at, places, strict=True)
        ]

    def advice(self, rows: PreparedSnapshots, places: Sequence[int], *, stored: bool, drivers: bool) -> list[Item]:
        """All that there is to tell of the rows at these places.

        Args:
            rows: Of accounts.
            places: Among them.
            stored: Whether they are rows of the stored snapshot; others are newer.
            drivers: Whether to say why, too.
        """
        said = self.online.results
        if stored and self._said is not None and said is not None:
            told = [said.table.slice(place, 1).to_pylist()[0] for place in places]
        else:
            told = self._worked_out(rows.take(places))
        shared, now, found = self._shared(rows.sources), time.time(), []
        why = self._drivers(rows, places, told) if drivers else None
        for k, (place, row) in enumerate(zip(places, told, strict=True)):
            last = _Last.of(self.online, rows, place, stored=stored)
            scores = {}
            for name, target, h, version in self._names:
                bundle = self.scorer.bundles[target]
                scores[name] = {
                    "score": row[name],
                    "model": version,
                    "base_rate": bundle.base_rates[bundle.horizons[h]],
                    "in_cohort": row[f"in_cohort_{target}"],
                    "value": row[f"{name}_value"],
                    "trend": last.trend(name, target, row[name]),
                    "drivers": None if why is None else why[name][k],
                }
            found.append(_when(rows, place, now) | {"scores": scores} | _advised(row) | {"tier": last.tier} | shared)
        return found

    def ready(self, places: Sequence[int], *, drivers: bool) -> bool:
        """Whether all is there to tell of these rows of the stored snapshot: nothing need be worked out."""
        said = self.online.results
        if self._said is None or said is None:
            return False
        columns = [said.table[f"{name}_drivers"] for name, *_ in self._names] if drivers else []
        return all(column[place].is_valid for column in columns for place in places)

    def _worked_out(self, rows: PreparedSnapshots) -> list[dict[str, Any]]:
        """What a batch would say of these rows, without drivers and trend."""
        scores = self.scorer.score(rows)
        advice = advise(self.settings, self.scorer, rows, scores)
        found: list[dict[str, Any]] = score_table.assemble_table(
            self.scorer, rows, scores, advice, {}, None
        ).to_pylist()
        return found

    def _drivers(
        self, rows: PreparedSnapshots, places: Sequence[int], told: Sequence[Mapping[str, Any]]
    ) -> dict[str, list[list[Item]]]:
        """By score the drivers of each row: those that the batch found, or else worked out now."""
        found: dict[str, list[list[Item]]] = {}
        for name, target, h, _ in self._names:
            bundle, texts = self.scorer.bundles[target], [row[f"{name}_drivers"] for row in told]
            known = [[] if text is None else from_json(text) for text in texts]
            rest = [k for k, text in enumerate(texts) if text is None]
            if rest:
                scores = np.array([[told[k][f"{target}_{days}d"] for days in bundle.horizons] for k in rest])
                few = rows.take([places[k] for k in rest])
                now = find_drivers(bundle, few, scores, bundle.horizons[h])
                for k, drivers in zip(rest, now, strict=True):
                    known[k] = [driver.as_dict() for driver in drivers]
            found[name] = [[_told(driver) for driver in drivers] for drivers in known]
        return found

    @cached_property
    def _said(self) -> dict[str, Floats] | None:
        """The scores of the stored snapshot by name, where these very models gave them."""
        said = self.online.results
        if said is None or said.models != {target: bundle.version for target, bundle in self.scorer.bundles.items()}:
            return None
        return {name: said.table[name].to_numpy() for name, *_ in self._names}

    @cached_property
    def _names(self) -> list[tuple[str, str, int, str]]:
        """Of every score its name, target, place among the horizons, and model."""
        return [
            (f"{target}_{horizon}d", target, h, bundle.version)
            for target, bundle in self.scorer.bundles.items()
            for h, horizon in enumerate(bundle.horizons)
        ]

    def _shared(self, sources: tuple[str, ...]) -> Item:
        """What is the same for all rows."""
        missing = {s for target in self.scorer.bundles for s in self.scorer.missing(target, sources)}
        return {
            "catalog": self.scorer.catalog.version,
            "sources_seen": sources,
            "sources_missing": [s for s in EVENTS if s in missing],
        }


@dataclass(frozen=True)
class _Last:
    """What was said of one account before."""

    results: ScoreTable | None
    place: int | None
    stored: bool

    @classmethod
    def of(cls, online: SnapshotStore, rows: PreparedSnapshots, i: int, *, stored: bool) -> Self:
        results, place = online.results, online.index.get(rows.account_ids[i])
        # A posted history may look from before the stored scores.
        later = results is not None and from_micros(int(rows.as_of[i])) > results.as_of
        return cls(results if stored or later else None, place, stored)

    @property
    def tier(self) -> str | None:
        """The account's, of the newest batch."""
        if self.results is None or self.place is None:
            return None
        tier: str | None = self.results.table["tier"][self.place].as_py()
        return tier

    def trend(self, name: str, target: str, score: float) -> Item | None:
        """How the score has moved since the last one."""
        results = self.results
        if results is None or self.place is None or name not in results.names:
            return None
        made = results.before if self.stored else results
        column = f"{name}_before" if self.stored else name
        before = results.table[column][self.place].as_py()
        if made is None or before is None:
            return None
        return {"as_of": _iso(made.as_of), "score": before, "change": score - before, "model": made.models[target]}


def _recommendation(row: Mapping[str, Any]) -> Item:
    return {"do": row["recommendation"], "withheld": row["withheld"], "why": row["why"]}


def _advised(row: Mapping[str, Any]) -> Item:
    due = row["next_sale_days"]
    return {
        "value": row["value"],
        "recommendation": None if row["recommendation"] is None else _recommendation(row),
        "next_sale": None if due is None else {"days": due, "overdue": row["next_sale_overdue"]},
        "leaves_in_days": row["leaves_in_days"],
    }


def _when(rows: PreparedSnapshots, i: int, now: float) -> Item:
    micros = int(rows.as_of[i])
    return {
        "account_id": rows.account_ids[i],
        "as_of": _iso(from_micros(micros)),
        "age_s": round(now - micros / 1e6, 3),
    }


def _iso(at: Any) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _told(driver: Mapping[str, Any]) -> Item:
    return {key: driver[key] for key in ("feature", "text", "contribution", "actionable", "play")}
