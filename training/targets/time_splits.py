"""Plans the split in time: which cutoffs train, calibrate and test; it can be printed before any training.

No label window of an earlier part reaches past the first cutoff of a later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from features.core.errors import LabelError
from features.settings import Training

_TEST_SHARE = 0.25
_CALIBRATION_SHARE = 0.25


@dataclass(frozen=True)
class TimePlan:
    """The cutoffs of one target and horizon.

    Args:
        days: From a cutoff until its label is mature.
        train: All cutoffs learned from; the deployed model learns from these.
        early: Those of `train` whose labels are mature before the first of `late`.
        late: The last of `train`: on a model of `early` alone they choose the weight of the linear part and calibrate.
        test: Later than any label of `train`; used once, for the figures.
    """

    days: int
    train: tuple[datetime, ...]
    early: tuple[datetime, ...]
    late: tuple[datetime, ...]
    test: tuple[datetime, ...]

    @property
    def folds(self) -> tuple[tuple[tuple[datetime, ...], tuple[datetime, ...]], ...]:
        """Return (learned from, evaluated on) inside the training: the last quarter, and the quarter before it.

        No label that is learned from reaches into the cutoffs evaluated on. The second is empty in a short training.
        """
        before = self.train[: -len(self.late)]
        later = before[-len(self.late) :]
        earlier = tuple(c for c in before if later and c + timedelta(days=self.days) <= later[0])
        return (self.early, self.late), (earlier, later)

    def describe(self) -> str:
        """Describe the plan in words."""
        parts = [
            f"{name} {cutoffs[0]:%Y-%m-%d} to {cutoffs[-1]:%Y-%m-%d} ({len(cutoffs)})"
            for name, cutoffs in (("train", self.train), ("of which calibrate", self.late), ("test", self.test))
        ]
        return f"{', '.join(parts)}; labels look {self.days} days ahead"


def list_cutoffs(training: Training, *, all_began: datetime, data_until: datetime) -> tuple[datetime, ...]:
    """Return all cutoffs, at midnight UTC: the first of each month, and with `every = "week"` Mondays too.

    Without `training.first` they begin 90 days after every source has begun, so that the early ones have a past.
    """
    first = training.first or all_began + timedelta(days=90)
    last = min(training.last or data_until, data_until)
    days = (datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(days=n) for n in range(20_000))
    return tuple(
        day
        for day in takewhile(lambda day: day <= last, days)
        if day >= first and (_is_month_start(day) or (training.every == "week" and day.weekday() == 0))
    )


def find_test_start(
    training: Training, cutoffs: tuple[datetime, ...], *, longest: int, data_until: datetime
) -> datetime | None:
    """Return where the test of every horizon of a target begins; None if no label is mature.

    It is one instant for all: where the label orders the horizons, the score of one bounds that of the next, so
    a shorter horizon that had learned from a longer one's test would leak the label.

    Args:
        training: As configured.
        cutoffs: All of the company.
        longest: Days until the label of the longest horizon is mature.
        data_until: The instant the data are complete until.
    """
    mature = [c for c in cutoffs if c + timedelta(days=longest) <= data_until]
    return training.test_from or (mature[-max(1, round(len(mature) * _TEST_SHARE))] if mature else None)


def build_plan(cutoffs: tuple[datetime, ...], *, days: int, start: datetime | None, data_until: datetime) -> TimePlan:
    """Divide the cutoffs for labels that take `days` to mature, with the test from `start` on.

    Raises:
        LabelError: The history is too short for a train, a calibration and a test part.
    """
    span = timedelta(days=days)
    mature = [c for c in cutoffs if c + span <= data_until]
    test = select_test_cutoffs(mature, days=days, start=start, data_until=data_until) if start else ()
    train = [c for c in mature if start and c + span <= start]
    early, late = divide_training(train, days=days)
    if not (test and early):
        raise LabelError(
            f"the history is too short for labels that look {days} days ahead",
            found=f"{len(cutoffs)} cutoffs, {len(mature)} with mature labels by {data_until:%Y-%m-%d}, "
            f"{len(train)} before the test, {len(early)} before the calibration",
            hint="Give more history, shorter horizons, an earlier training.first, or training.every = 'week'",
        )
    return TimePlan(days, tuple(train), early, late, test)


def divide_training(train: Sequence[datetime], *, days: int) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """Return the training cutoffs whose labels are mature before the last quarter of them, and that quarter."""
    late = tuple(train[-max(1, round(len(train) * _CALIBRATION_SHARE)) :])
    early = tuple(c for c in train if c + timedelta(days=days) <= late[0]) if late else ()
    return early, late


def select_test_cutoffs(
    cutoffs: Sequence[datetime], *, days: int, start: datetime, data_until: datetime
) -> tuple[datetime, ...]:
    """Return the cutoffs from `start` on with labels that are mature after `days`.

    Months alone are tested on, however densely training looks: figures then compare.
    """
    span = timedelta(days=days)
    return tuple(c for c in cutoffs if c >= start and c + span <= data_until and _is_month_start(c))


def _is_month_start(day: datetime) -> bool:
    return day.day == 1
