"""Training: from a history to one model a target, fitted on the past and judged on what came later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import lightgbm as lgb
import numpy as np
import pandas as pd

from features import catalog, snapshots
from features.errors import LabelError
from features.history import History
from features.instants import instant
from features.settings import Churn, Settings, Upsell
from training import calibrate, cohorts, leaks, splits, sufficiency
from training.bundle import Bundle, Head, quantiles
from training.judge import Outcome, judge
from training.labels import days_needed, labels, order
from training.sufficiency import Lacking

# One set for all data: small, strongly regularised trees, slowly learned. Rows of one account follow each other
# month by month, so there is less in the data than their number says.
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "cat_smooth": 20.0,
    "max_bin": 127,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
# A fixed number: stopping by a later period's loss mistakes a season's base rate for overfitting.
TREES = 300
_REFERENCE_ROWS = 20_000
_MOST_CATEGORIES = 200
_FEW_ROWS = 100_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """One target's model and, by horizon, how it did.

    Args:
        bundle: Without heads where no horizon could be trained.
        outcomes: Of the horizons that were.
        lacking: What the others lack.
    """

    bundle: Bundle
    outcomes: dict[int, Outcome]
    lacking: dict[int, Lacking] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """Snapshots of one target's cohort at all cutoffs.

    Args:
        frame: account_id, as_of, features.
        cutoffs: Ascending.
        data_until: The instant the data are complete until.
    """

    frame: pd.DataFrame
    cutoffs: tuple[datetime, ...]
    data_until: datetime


def fit(
    history: History,
    settings: Settings,
    *,
    as_of: datetime | None = None,
    champions: Mapping[str, Bundle] | None = None,
    say: Say = print,
) -> dict[str, Fitted]:
    """Train every target that the settings ask for, telling first what it lacks and last what may have leaked.

    Args:
        history: Of the company.
        settings: Of the company.
        as_of: Train as one would have then: no label looks past it. Default: all the data.
        champions: The models that serve now, by target, to be judged beside the new ones.
        say: Is told what is under way.

    Raises:
        LabelError: Too short a history for the time plan, or an empty cohort.
    """
    until = data_until(history, settings, as_of)
    cutoffs = found_cutoffs(history, settings, until)
    plans = {name: _plans(settings, target, cutoffs, until) for name, target in settings.targets.items()}
    fitted = {}
    for name, data in datasets(history, settings, cutoffs, until, say=say):
        champion = (champions or {}).get(name)
        fitted[name] = _honest(history, settings, name, data, plans[name], champion=champion, say=say)
    return fitted


def _honest(  # noqa: PLR0913  # the arguments of fit_target
    history: History,
    settings: Settings,
    name: str,
    data: Dataset,
    plans: dict[int, splits.Plan],
    *,
    champion: Bundle | None,
    say: Say,
) -> Fitted:
    """What `fit_target` gives of the horizons that have enough, with what else there is to doubt in their verdicts."""
    target, frame = settings.targets[name], data.frame
    checked = {
        h: sufficiency.check(f"{name}_{h}d", answers.to_numpy(), frame["as_of"], plan)
        for h, plan in plans.items()
        for answers in [labels(history, target, h, frame, data_until=data.data_until)]
    }
    lacking = {h: c.impossible for h, c in checked.items() if c.impossible}
    for h in lacking:
        say(f"{name}, {h} days: {plans[h].sentence()}; not trained")
    able = {h: plan for h, plan in plans.items() if h not in lacking}
    if not able:
        return Fitted(_empty(history, settings, name), {}, lacking)
    fitted = fit_target(history, settings, name, data, able, champion=champion, say=say)
    say(f"{name}: looking for leaks")
    probe = leaks.Probe(history, target, fitted.bundle, frame, data.data_until)
    short = sufficiency.remarks(history, fitted.bundle.features, frame["account_id"], data.data_until)
    outcomes = {}
    for h, outcome in fitted.outcomes.items():
        judged = checked[h].applied(outcome.evaluation, short)
        found = probe.found(h, outcome.plan, outcome.test)
        outcomes[h] = replace(outcome, evaluation=found.applied(judged, settings.training.trusted))
    return replace(fitted, outcomes=outcomes, lacking=lacking)


def _empty(history: History, settings: Settings, name: str) -> Bundle:
    """A model of nothing, for a target that has too little to learn from."""
    return Bundle(
        target=name,
        features=(),
        categories={},
        sources=history.sources,
        catalog=catalog.version(),
        trained_at=datetime.now(UTC).replace(microsecond=0),
        heads=(),
        order=order(settings.targets[name]),
        reference=pd.DataFrame(),
    )


def found_cutoffs(history: History, settings: Settings, until: datetime) -> tuple[datetime, ...]:
    """All cutoffs of the company, ascending.

    Raises:
        LabelError: There is none.
    """
    found = splits.cutoffs(settings.training, all_began=instant(history.all_began), data_until=until)
    if not found:
        raise LabelError(f"there is no cutoff before {until:%Y-%m-%d}", do="Set an earlier training.first")
    return found


def datasets(
    history: History, settings: Settings, cutoffs: tuple[datetime, ...], until: datetime, *, say: Say
) -> Iterator[tuple[str, Dataset]]:
    """Each target's name and its cohort's snapshots.

    Raises:
        LabelError: A cohort is empty at every cutoff.
    """
    say(f"snapshots at {len(cutoffs)} cutoffs")
    every = snapshots.build(history, cutoffs)
    for name, target in settings.targets.items():
        members = cohorts.eligible(history, target.cohort, cutoffs)
        frame = every.merge(members, on=["account_id", "as_of"])
        if frame.empty:
            raise LabelError(f"the cohort of {name} is empty at every cutoff", do=f"Look at [{name}] cohort")
        yield name, Dataset(frame, cutoffs, until)


def data_until(history: History, settings: Settings, as_of: datetime | None = None) -> datetime:
    """The instant the data are complete until: as configured, or the end of the last day with an event."""
    until = settings.company.data_until or snapshots.latest(history)
    return min(until, as_of) if as_of else until


def _plans(
    settings: Settings, target: Churn | Upsell, cutoffs: tuple[datetime, ...], until: datetime
) -> dict[int, splits.Plan]:
    horizons = sorted(set(target.horizons))
    longest = days_needed(target, horizons[-1])
    start = splits.start_of_test(settings.training, cutoffs, longest=longest, data_until=until)
    return {h: splits.plan(cutoffs, days=days_needed(target, h), start=start, data_until=until) for h in horizons}


def fit_target(  # noqa: PLR0913  # the whole of what a target is made of
    history: History,
    settings: Settings,
    name: str,
    data: Dataset,
    plans: dict[int, splits.Plan],
    *,
    champion: Bundle | None = None,
    say: Say = print,
) -> Fitted:
    """Train one target and judge it on the test of each plan.

    Args:
        history: Of the company.
        settings: Of the company.
        name: Of the target.
        data: Of the target; rows at cutoffs outside the plans are left alone.
        plans: By horizon, ascending; the tests of all begin later than any label of any train ends.
        champion: The model that serves now.
        say: Is told what is under way.

    Raises:
        LabelError: An empty cohort, or labels of one class only.
    """
    target, frame = settings.targets[name], data.frame
    learned = frame[frame["as_of"].isin(next(iter(plans.values())).train)]
    if learned.empty:
        raise LabelError(
            f"the cohort of {name} is empty at every cutoff of the training", do=f"Look at [{name}] cohort"
        )
    bundle = Bundle(
        target=name,
        features=_columns(learned),
        categories=_categories(learned),
        sources=history.sources,
        catalog=catalog.version(),
        trained_at=datetime.now(UTC).replace(microsecond=0),
        heads=(),
        order=order(target),
        reference=_sample(learned, settings.training.seed).drop(columns=["account_id", "as_of"]),
        learned_until=max(p.train[-1] + timedelta(days=p.days) for p in plans.values()),
    )
    matrix = bundle.matrix(frame)
    heads, asked = [], {}
    for horizon, plan in plans.items():
        answers = labels(history, target, horizon, frame, data_until=data.data_until).to_numpy()
        say(f"{name}, {horizon} days: {plan.sentence()}")
        trainer = _Trainer(bundle, matrix, answers, frame["as_of"], seed=settings.training.seed)
        heads.append(trainer.head(f"{name}_{horizon}d", horizon, plan))
        asked[horizon] = (plan, answers)
    bundle = Bundle(**{**vars(bundle), "heads": tuple(heads)})
    scores, seed = bundle.probabilities(matrix), settings.training.seed
    outcomes = {
        h: judge(name, frame.assign(score=scores[:, i], label=answers), p, horizon=h, seed=seed, champion=champion)
        for i, (h, (p, answers)) in enumerate(asked.items())
    }
    return Fitted(bundle, outcomes)


class _Trainer:
    """Fits the heads of one target on one matrix."""

    def __init__(
        self, bundle: Bundle, matrix: np.ndarray, answers: np.ndarray, as_ofs: pd.Series, *, seed: int
    ) -> None:
        self._matrix, self._answers, self._as_ofs = matrix, answers, as_ofs
        self._categorical = [i for i, f in enumerate(bundle.features) if f in bundle.categories]
        # Few rows are learned faster by one thread than by several that wait for each other at every leaf.
        self._parameters = PARAMETERS | {"seed": seed, "num_threads": 1 if len(matrix) < _FEW_ROWS else 0}

    def head(self, what: str, horizon: int, plan: splits.Plan) -> Head:
        early, late, train = (self._rows(cutoffs, what) for cutoffs in (plan.early, plan.late, plan.train))
        # Judged on later months than it learned from: how far its log-odds can be believed.
        first = lgb.train(self._parameters, self._data(early), num_boost_round=TREES)
        log_odds = first.predict(self._matrix[late], raw_score=True)
        believed = calibrate.fit(log_odds, self._answers[late])
        # What is deployed has learned from those months too.
        booster = lgb.train(self._parameters, self._data(train), num_boost_round=TREES)
        rate = float(self._answers[train].mean())
        calibrator = calibrate.centred(believed, booster.predict(self._matrix[train], raw_score=True), rate)
        return Head(
            horizon=horizon,
            text=booster.model_to_string(),
            calibrator=calibrator,
            base_rate=rate,
            quantiles=quantiles(calibrator(log_odds)),
        )

    def _rows(self, cutoffs: tuple[datetime, ...], what: str) -> np.ndarray:
        """Places of the rows with a label at these cutoffs; both classes must be there."""
        rows = np.flatnonzero(self._as_ofs.isin(cutoffs).to_numpy() & ~np.isnan(self._answers))
        positives = int(self._answers[rows].sum())
        if positives in {0, len(rows)}:
            raise LabelError(
                f"the labels of {what} are of one class only between {cutoffs[0]:%Y-%m-%d} and {cutoffs[-1]:%Y-%m-%d}",
                there=f"{positives} positives among {len(rows)} rows",
                do="Look at its label and cohort in the TOML, or give more history",
            )
        return rows

    def _data(self, rows: np.ndarray) -> lgb.Dataset:
        return lgb.Dataset(
            self._matrix[rows], self._answers[rows], categorical_feature=self._categorical, params={"verbosity": -1}
        )


def _columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """The features that vary; one that never does tells nothing, such as that of a column that isn't mapped."""
    return tuple(c for c in frame.columns if c not in {"account_id", "as_of"} and _varies(frame[c]))


def _varies(column: pd.Series) -> bool:
    values = column.to_numpy()
    return bool((column.notna() != pd.notna(values[0])).any() or (values[pd.notna(values)] != values[0]).any())


def _categories(frame: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The values of each text column, the commonest first; rare ones beyond the most that are kept are unseen."""
    texts = [c for c in _columns(frame) if not pd.api.types.is_numeric_dtype(frame[c])]
    return {c: tuple(frame[c].value_counts().sort_index(kind="stable").nlargest(_MOST_CATEGORIES).index) for c in texts}


def _sample(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    return frame.sample(_REFERENCE_ROWS, random_state=seed) if len(frame) > _REFERENCE_ROWS else frame
