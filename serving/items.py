"""Scores as the HTTP service tells them: JSON in the shape of `serving.responses`, made without going through it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from features.contract import EVENTS
from features.instants import instant
from features.settings import Settings
from serving import reasons
from serving.advice import Advice, advise
from serving.online import Online
from serving.results import Results
from serving.scorer import Rows, Scorer
from training.value import Floats

# JSON in the shape of `responses.Scored`.
Item = dict[str, Any]


@dataclass(frozen=True)
class Teller:
    """Tells scores; as immutable as the models and the snapshot that it knows.

    Args:
        settings: The company's.
        scorer: The champions.
        online: The newest stored snapshot, and what the batch said of it.
    """

    settings: Settings
    scorer: Scorer
    online: Online

    def scores(self, rows: Rows, places: Sequence[int]) -> list[Item]:
        """The probabilities alone of the rows at these places."""
        scores = self.scorer.probabilities({t: matrix[places] for t, matrix in rows.matrices.items()})
        shared, now, found = self._shared(rows.sources), time.time(), []
        for k, place in enumerate(places):
            told = {n: {"score": float(scores[t][k, h]), "model": v} for n, t, h, v in self._names}
            found.append(_when(rows, place, now) | {"scores": told} | shared)
        return found

    def advice(self, rows: Rows, *, stored: bool, drivers: bool) -> list[Item]:
        """All that there is to tell of these rows.

        Args:
            rows: n accounts.
            stored: Whether they are rows of the stored snapshot; others are newer.
            drivers: Whether to say why, too.
        """
        scores = self.scorer.score(rows)
        said = advise(self.settings, self.scorer, rows, scores)
        shared, now, found = self._shared(rows.sources), time.time(), []
        why = self._drivers(rows, scores, stored=stored) if drivers else {}
        for i in range(len(rows)):
            last = _Last.of(self.online, rows, i, stored=stored)
            told = {}
            for name, target, h, version in self._names:
                bundle = self.scorer.bundles[target]
                score, worth = float(scores[target][i, h]), said.worth.get((target, bundle.horizons[h]))
                told[name] = {
                    "score": score,
                    "model": version,
                    "base_rate": bundle.base_rates[bundle.horizons[h]],
                    "in_cohort": bool(rows.in_cohort[target][i]) if target in rows.in_cohort else None,
                    "value": None if worth is None else _number(worth[i]),
                    "trend": last.trend(name, target, score),
                    "drivers": why[name][i] if drivers else None,
                }
            found.append(
                _when(rows, i, now) | {"scores": told} | _advised(rows, said, i) | {"tier": last.tier} | shared
            )
        return found

    def _drivers(self, rows: Rows, scores: Mapping[str, Floats], *, stored: bool) -> dict[str, list[Any]]:
        """By score the drivers of each row: those that the batch found, or else worked out now."""
        found: dict[str, list[Any]] = {}
        for name, target, h, version in self._names:
            known: list[Any] = [None] * len(rows)
            results = self.online.results
            if stored and results and results.models.get(target) == version:
                known = [results.drivers(name, self.online.index[account]) for account in rows.account_ids]
            rest = np.flatnonzero([drivers is None for drivers in known])
            if len(rest):
                bundle = self.scorer.bundles[target]
                told = reasons.drivers(bundle, rows.take(rest), scores[target][rest], bundle.horizons[h])
                for i, drivers in zip(rest, told, strict=True):
                    known[i] = [driver.as_dict() for driver in drivers]
            found[name] = [[_told(driver) for driver in drivers] for drivers in known]
        return found

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

    results: Results | None
    place: int | None
    stored: bool

    @classmethod
    def of(cls, online: Online, rows: Rows, i: int, *, stored: bool) -> Self:
        results, place = online.results, online.index.get(rows.account_ids[i])
        # A posted history may look from before the stored scores.
        later = results is not None and instant(int(rows.as_of[i])) > results.as_of
        return cls(results if stored or later else None, place, stored)

    @property
    def tier(self) -> str | None:
        """The account's, of the newest batch."""
        if self.results is None or self.place is None:
            return None
        return self.results.table["tier"][self.place].as_py()

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


def _advised(rows: Rows, said: Advice, i: int) -> Item:
    done, sale = said.recommended, said.sale
    due = None if sale is None else _number(sale.days[i])
    return {
        "value": _number(rows.value[i]),
        "recommendation": {"do": done.do[i], "withheld": bool(done.withheld[i]), "why": done.why[i]},
        "next_sale": None if sale is None or due is None else {"days": due, "overdue": bool(sale.overdue[i])},
        "leaves_in_days": _number(said.leaves[i]),
    }


def _when(rows: Rows, i: int, now: float) -> Item:
    micros = int(rows.as_of[i])
    return {"account_id": rows.account_ids[i], "as_of": _iso(instant(micros)), "age_s": round(now - micros / 1e6, 3)}


def _iso(at: Any) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _told(driver: Mapping[str, Any]) -> Item:
    return {key: driver[key] for key in ("feature", "text", "contribution", "actionable", "play")}
