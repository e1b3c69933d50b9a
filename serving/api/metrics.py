"""What the service counts, as Prometheus reads it: time, statuses, errors, scores, unseen values, models, freshness.

A request adds to plain numbers; the text is made when it is asked for. Several workers share one port, and Prometheus
meets any of them: each writes its numbers to a file every second, and the one that is asked adds up all files.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from features.core.atomic_write import write_atomically
from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.state.database import Store
from features.state.tables import PARITY_RUNS
from serving.api.state import AppState

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Upper bounds, in seconds and in probability.
SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SCORES = tuple(round(0.05 * i, 2) for i in range(1, 21))
PARITY_READ_SECONDS = 60.0  # seconds between looks at the parity check's runs
# Written by the parity check; here it is only read.

Labels = tuple[str, ...]


class Histogram:
    """Numbers by upper bound, the last beyond all bounds, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def merge(self, counts: Sequence[int], total: float) -> None:
        """Add another's numbers."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, counts, strict=True)]
        self.total += total

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulated, as Prometheus has them."""
        found, so_far = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found


class Metrics:
    """What one worker has counted since it started.

    Args:
        folder: Where the workers of one server write their numbers for each other; None for a worker alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self.requests: Counter[tuple[Any, ...]] = Counter()
        self.errors: Counter[Labels] = Counter()
        self.unseen: Counter[Labels] = Counter()
        self.seconds: dict[str, Histogram] = {}
        self.scores: dict[str, Histogram] = {}

    @classmethod
    def shared(cls) -> Self:
        """In the folder that BentoML makes for its workers' figures, and empties when it starts."""
        place = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        return cls(Path(place) if place else None)

    def record_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests[route, status] += 1
        _spread(self.seconds, route, SECONDS).add(seconds)

    def record_error(self, code: str) -> None:
        """Count an error by its code."""
        self.errors[(code,)] += 1

    def record_score(self, name: str, score: float) -> None:
        """Count a score, such as that of churn_90d."""
        _spread(self.scores, name, SCORES).add(score)

    def save(self) -> None:
        """Write the numbers for the other workers."""
        if self._folder is None:
            return
        numbers = {
            **{name: [[*k, v] for k, v in getattr(self, name).copy().items()] for name in _COUNTERS},
            **{name: {k: [v.counts, v.total] for k, v in getattr(self, name).copy().items()} for name in _SPREADS},
        }
        with write_atomically(self._folder / f"{os.getppid()}-{os.getpid()}.json") as part:
            part.write_text(json.dumps(numbers), encoding="utf-8")

    def sum_workers(self) -> Metrics:
        """Those of all workers of this server, of those that have ended as well: a sum never goes down."""
        self.save()
        if self._folder is None:
            return self
        found = Metrics()
        for file in self._folder.glob(f"{os.getppid()}-*.json"):
            with contextlib.suppress(OSError, ValueError):
                found._add(json.loads(file.read_text(encoding="utf-8")))
        return found

    def _add(self, numbers: Mapping[str, Any]) -> None:
        for name in _COUNTERS:
            counter: Counter[tuple[Any, ...]] = getattr(self, name)
            for *labels, value in numbers[name]:
                counter[tuple(labels)] += value
        for name, bounds in _SPREADS.items():
            for label, (counts, total) in numbers[name].items():
                _spread(getattr(self, name), label, bounds).merge(counts, total)


_COUNTERS = ("requests", "errors", "unseen")
_SPREADS = {"seconds": SECONDS, "scores": SCORES}


def _spread(spreads: dict[str, Histogram], label: str, bounds: Sequence[float]) -> Histogram:
    found = spreads.get(label)
    if found is None:
        found = spreads[label] = Histogram(bounds)
    return found


@dataclass
class ParityStatus:
    """The last run of the parity check, read at most once a minute."""

    run_at: int = 0
    checked: int = 0
    mismatches: int = 0
    read_at: float = float("-inf")

    def read(self, store: Store, now: float) -> None:
        """Look again, if it is time to; what can't be read stays as it was."""
        if now - self.read_at < PARITY_READ_SECONDS:
            return
        self.read_at = now
        query = sa.select(PARITY_RUNS.c.run_at, PARITY_RUNS.c.checked, PARITY_RUNS.c.mismatches)
        with contextlib.suppress(GarrisonError), store.reading() as connection:
            row = connection.execute(query.order_by(PARITY_RUNS.c.run_at.desc()).limit(1)).one_or_none()
            if row is not None:
                self.run_at, self.checked, self.mismatches = row


def render_metrics(figures: Metrics, room: AppState, parity: ParityStatus) -> bytes:
    """All figures as Prometheus' text; reads files, so it belongs in a thread."""
    if room.scoring is not None:
        parity.read(room.scoring.store, time.monotonic())
    registry = CollectorRegistry()
    registry.register(_Collected([*_counted(figures.sum_workers()), *_held(room), *_checked(parity)]))
    return generate_latest(registry)


@dataclass(frozen=True, eq=False)
class _Collected:
    """Metrics that are there already, in the shape that a registry takes."""

    metrics: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def _counted(figures: Metrics) -> Iterator[Metric]:
    yield _counter("garrison_requests", "Requests answered.", ["route", "status"], figures.requests)
    yield _counter("garrison_errors", "Requests refused, by the error's code.", ["code"], figures.errors)
    yield _counter(
        "garrison_posted_unseen",
        "Values in posted accounts that a model never saw in training.",
        ["target", "column"],
        figures.unseen,
    )
    yield _histogram("garrison_request_seconds", "Time to answer.", "route", figures.seconds)
    yield _histogram("garrison_scores", "Scores given, as probabilities.", "score", figures.scores)


def _held(room: AppState) -> Iterator[Metric]:
    """What the models and the snapshot in memory say of themselves."""
    yield _gauge("garrison_ready", "Whether there is a model to score with.", [], {(): room.scoring is not None})
    fallen: dict[Labels, float] = {(target,): 1 for target in room.fallbacks}
    yield _gauge("garrison_fallback", "A champion that can't be read: the one before serves.", ["target"], fallen)
    if room.scoring is None:
        return
    scorer, online = room.scoring.score_service.scorer, room.scoring.score_service.online
    about: dict[Labels, float] = {
        (t, b.version, b.run_id, scorer.catalog.version): 1 for t, b in scorer.bundles.items()
    }
    yield _gauge("garrison_model_info", "The models that score.", ["target", "version", "run_id", "catalog"], about)
    if online.as_of is not None:
        age = time.time() - to_micros(online.as_of) / 1e6
        yield _gauge("garrison_snapshot_age_seconds", "From the snapshot's as_of to now.", [], {(): age})
    unseen: dict[Labels, float] = {labels: count for labels, count in room.scoring.unseen.items()}  # noqa: C416  # wider keys
    yield _gauge(
        "garrison_snapshot_unseen",
        "Accounts of the snapshot with a value that a model never saw in training.",
        ["target", "column"],
        unseen,
    )


def _checked(parity: ParityStatus) -> Iterator[Metric]:
    """What the parity check found when it last worked served scores out again."""
    if parity.run_at:
        yield _gauge("garrison_parity_mismatches", "Served scores that differ.", [], {(): parity.mismatches})
        yield _gauge("garrison_parity_checked", "Served scores worked out again.", [], {(): parity.checked})
        yield _gauge("garrison_parity_run_timestamp_seconds", "When, Unix time.", [], {(): parity.run_at / 1e6})


def _counter(name: str, says: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, says, labels=labels)
    for found, value in sorted(values.items()):
        family.add_metric([str(label) for label in found], value)
    return family


def _gauge(name: str, says: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=labels)
    for found, value in sorted(values.items()):
        family.add_metric(found, value)
    return family


def _histogram(name: str, says: str, label: str, spreads: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, says, labels=[label])
    for found, spread in sorted(spreads.items()):
        family.add_metric([found], spread.buckets(), spread.total)
    return family
