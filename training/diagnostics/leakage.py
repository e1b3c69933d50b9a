"""Looks for leaks: data that give the label away because they were recorded after it, or because they are the label.

It looks between fitting and registering. A suspect stops the run; a remark is shown and stops nothing. The rules are
strict where data are undated and lenient where they are point in time:

- An attribute of accounts is recorded as of the export, so it may have been written when the account left. It is
  held against each account's last test row, and at the last mature instant too, where the export is nearest.
  Alone it must stay below an AUC of 0.95; and no value of it, nor its being there, may come with the label in 95 %
  of its accounts while that is at least three times the usual.
- Nor may the undated columns gain among late cutoffs what early ones could not have taught: see
  `training.diagnostics.undated_attributes`, which also lists the undated numbers that are left out.
- A source must not exist only near the label: rows at all, or in the last 30 days, that come true in 80 % of the
  cases, at three times the base rate; nor may having rows or none reach an AUC of 0.9.
- A feature of dated events alone must stay below an AUC of 0.98. Features of the table that tells the label are
  free: who has been silent for 170 days stays so, and a term's end is in the contract. But no feature that sums
  something recorded with the events, such as errors or escalations, may come with the label in 95 % of the rows where
  it is above 0 or at one of its highest values.
- Ends of terms must not be known of those alone that left: see `training.diagnostics.known_ends`.
- No model may reach an AUC of 0.99. Mere presence of rows in the last 30 days is remarked on from an AUC of 0.75.
- With the newest 14 days before `as_of` hidden, skill (AUC - 0.5) must not fall below 0.6 of itself where the AUC was
  0.95 or more. A weaker signal that does is remarked on: it comes too late to act on.
- Usage after an account's end: see `training.diagnostics.lifespans`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.core.auc import auc
from features.core.contract import TABLES
from features.core.sql_text import SqlText
from features.core.timestamps import from_micros, to_datetimes, to_micros_column
from features.definitions.feature import DAY, Feature
from features.definitions.visibility_rule import SQL, is_visible, visible_from
from features.diagnostics.target_leakage import measure_alone, measure_separation, read_attributes
from features.engine import snapshot_cache
from features.settings import Churn, Settings, Upsell
from features.sources.history import History
from training.diagnostics import lifespans
from training.diagnostics.known_ends import find_known_ends
from training.diagnostics.leak_verdict import LeakFindings
from training.diagnostics.small_model import cross_validate, fit_booster
from training.diagnostics.undated_attributes import find_unstable
from training.models.matrix import join_snapshots, sample_rows
from training.models.model import Model
from training.targets.cohorts import find_eligible
from training.targets.labels import compute_labels, compute_mature_until
from training.targets.time_splits import TimePlan

_ATTRIBUTE_AUC, _SOURCE_AUC, _FEATURE_AUC, _MODEL_AUC, _PRESENCE_AUC = 0.95, 0.90, 0.98, 0.99, 0.75
_ATTRIBUTE_SHARE, _SOURCE_SHARE, _LIFT, _COVERED = 0.95, 0.8, 3.0, 0.1
_FEWEST = 10  # accounts of either class, and with a suspicious value
_HIGHEST = 3  # of a feature's values that are looked at alone
# Columns of events that say that and when they happened, and how much: all that is recorded beside them may be a flag.
_PLAIN = frozenset({"t", "day", "count", "amount", "quantity", "user_id", "order"})
_RECENT_DAYS = 30
_HIDDEN_DAYS, _HIDDEN_AUC, _KEPT, _CUTOFFS, _POSITIVES = 14, 0.95, 0.6, 3, 30
_DRIFT_AUC = 0.75
_MOST_ROWS, _MOST_UNDATED = 50_000, 10_000


class LeakProbe:
    """A search for leaks in one trained target.

    Args:
        history: Of the company.
        settings: The company's: the cache of snapshots is in its folder.
        target: Its definition.
        model: Its model.
        plans: The cutoffs of each horizon that will be examined: what all need is built at once.
        keys: account_id, as_of of its cohort at all cutoffs.
        rows: Returns the snapshots at some indices of `keys`, with all their features.
        data_until: The instant the data are complete until.
    """

    def __init__(  # noqa: PLR0913  # all but the first three named
        self,
        history: History,
        target: Churn | Upsell,
        model: Model,
        *,
        settings: Settings,
        plans: Iterable[tuple[int, TimePlan]],
        keys: pd.DataFrame,
        rows: Callable[[np.ndarray], pd.DataFrame],
        data_until: datetime,
    ) -> None:
        self._history, self._target, self._bundle, self._keys, self._rows = history, target, model, keys, rows
        self._until, self._catalog = data_until, history.catalog
        self._attributes = read_attributes(history)
        self._settings, self._plans = settings, tuple(plans)

    def examine(self, horizon: int, plan: TimePlan, test: pd.DataFrame) -> LeakFindings:
        """Return everything suspicious about one horizon.

        Args:
            horizon: Days.
            plan: The cutoffs.
            test: account_id, as_of and label of the test rows.
        """
        rows = test[["account_id", "as_of", "label"]].reset_index(drop=True)
        if len(rows) > _MOST_ROWS:
            rows = rows.sample(_MOST_ROWS, random_state=7).reset_index(drop=True)
        labels = rows["label"].to_numpy(dtype="float64")
        row_indices = rows.merge(self._keys.assign(place=np.arange(len(self._keys))), on=["account_id", "as_of"])[
            "place"
        ]
        frame = self._rows(row_indices.to_numpy()).reset_index(drop=True)
        suspects = dict(self._of_attributes(horizon, plan))
        suspects |= dict(self._of_sources(rows, labels))
        suspects |= dict(self._of_features(frame, labels))
        suspects |= dict(self._of_flags(frame, labels, rows["account_id"]))
        suspects |= dict(self._of_undated(frame, labels, horizon, plan))
        suspects |= find_known_ends(self._history)
        suspects |= self.find_perfection(test)
        hidden, hints = self._hidden(frame, labels, plan, horizon)
        rest_sentence = self._rest(frame, labels, [*suspects]) if suspects else ""
        doubts, remarks = lifespans.find_problems(self._history, self._target.label, data_until=self._until)
        return LeakFindings(
            {name: f"{sentence}. {rest_sentence}" for name, sentence in {**hidden, **suspects}.items()},
            (*hints, *remarks, *self._of_presence(rows, labels), *self._drifted(plan)),
            doubts,
            self._catalog,
        )

    def _of_attributes(self, horizon: int, plan: TimePlan) -> Iterator[tuple[str, str]]:
        last = compute_mature_until(self._target, horizon, self._until)
        rows = find_eligible(self._history, self._target.cohort, sorted({*plan.test, last}))
        rows = rows.assign(label=compute_labels(self._history, self._target, horizon, rows, data_until=self._until))
        known = rows[rows["label"].notna()]
        for chosen in (known.groupby("account_id").tail(1), known[known["as_of"] == last]):
            labels = chosen["label"].to_numpy(dtype="float64")
            if min(labels.sum(), len(labels) - labels.sum()) < _FEWEST:
                continue
            columns = chosen[["account_id"]].merge(self._attributes, on="account_id", how="left")
            for name in columns.columns.drop("account_id"):
                if description := _describe_attribute(columns[name], labels):
                    yield name, f"the account's {name}, as it stands at the export, {description}"

    def _of_undated(
        self, frame: pd.DataFrame, labels: np.ndarray, horizon: int, plan: TimePlan
    ) -> Iterator[tuple[str, str]]:
        """Yield undated attributes whose gain among the test rows is not one that early cutoffs could have taught."""
        names = () if self._history.dated else (name for name, _ in self._history.attributes)
        columns = {name: self._bundle.features.index(name) for name in names if name in self._bundle.features}
        if not columns:
            return
        early = np.flatnonzero(self._keys["as_of"].isin(plan.train[: -(-len(plan.train) // 2)]))
        early = sample_rows(early, min(len(early), _MOST_UNDATED), seed=7)
        keys = self._keys.iloc[early].reset_index(drop=True)
        answers = compute_labels(self._history, self._target, horizon, keys, data_until=self._until).to_numpy()
        is_known, late = ~np.isnan(answers), sample_rows(np.arange(len(frame)), min(len(frame), _MOST_UNDATED), seed=7)
        rows = pd.concat([self._rows(early[is_known]), frame.iloc[late]], ignore_index=True)
        yield from find_unstable(
            rows,
            self._bundle.matrix(rows),
            np.concatenate([answers[is_known], labels[late]]),
            columns=columns,
            is_late=np.arange(len(rows)) >= is_known.sum(),
        )

    def _of_sources(self, rows: pd.DataFrame, labels: np.ndarray) -> Iterator[tuple[str, str]]:
        for source in self._history.sources:
            ever, recent = _find_present(self._history, source, rows)
            if (source_auc := measure_separation(ever.astype("float64"), labels)) >= _SOURCE_AUC:
                yield source, f"whether an account has rows in {source} alone tells the label (AUC {source_auc:.3f})"
            for is_present, phrase in ((ever, "with"), (recent, f"with the last {_RECENT_DAYS} days")):
                accounts = rows["account_id"][is_present & (labels == 1)].nunique()
                share = float(labels[is_present].mean()) if is_present.any() else 0.0
                if accounts >= _FEWEST and _is_pure(share, _SOURCE_SHARE, labels, is_present):
                    usual = f"against {labels.mean():.1%} of all: it is there only near the label"
                    yield source, f"of the accounts {phrase} rows in {source}, {share:.0%} come true, {usual}"

    def _of_features(self, frame: pd.DataFrame, labels: np.ndarray) -> Iterator[tuple[str, str]]:
        described = {name for name, _ in self._history.attributes}
        # Where ends are recorded in a table of their own, the contract's terms may still tell them.
        excluded_sources = {self._target.label.table, "purchases" if self._target.label.kind == "ended" else ""}
        for name in self._bundle.features:
            if name in described or excluded_sources & set(self._catalog.find_feature(name).sources):
                continue
            separated = measure_alone(frame[name], labels)
            if separated.auc >= _FEATURE_AUC:
                yield name, f"{separated.by} alone tells the label (AUC {separated.auc:.3f})"

    def _of_flags(self, frame: pd.DataFrame, labels: np.ndarray, ids: pd.Series) -> Iterator[tuple[str, str]]:
        """Yield features of what is recorded with events that are above 0, or high, nearly only where the label is."""
        for name in self._bundle.features:
            measures = self._catalog.find_feature(name).windowed_measures.values()
            if not any(m.measure.column not in _PLAIN or m.measure.where is not None for m in measures):
                continue
            values = frame[name].to_numpy(dtype="float64", na_value=np.nan)
            highest = np.unique(values[values > 0])[-_HIGHEST:]
            for is_flagged, phrase in ((values > 0, "is above 0"), *((values == v, f"is {v:g}") for v in highest)):
                share = float(labels[is_flagged].mean()) if is_flagged.any() else 0.0
                accounts = ids[is_flagged & (labels == 1)].nunique()
                if accounts >= _FEWEST and _is_pure(share, _ATTRIBUTE_SHARE, labels, is_flagged):
                    yield name, f"where it {phrase}, {share:.0%} come true, against {labels.mean():.1%} of all"
                    break

    def find_perfection(self, test: pd.DataFrame) -> dict[str, str]:
        """Return the label's table as a suspect where the model is too good to be true; `test` has label and score."""
        if "score" not in test:
            return {}
        model_auc = auc(test["label"].to_numpy(dtype="float64"), test["score"].to_numpy())
        if model_auc < _MODEL_AUC:
            return {}
        return {self._target.label.table: f"the model reaches an AUC of {model_auc:.3f}: no honest data tell so much"}

    def _of_presence(self, rows: pd.DataFrame, labels: np.ndarray) -> Iterator[str]:
        """Yield a remark on each source of which the mere presence of recent rows tells much of the label."""
        for source in self._history.sources:
            _, recent = _find_present(self._history, source, rows)
            presence_auc = measure_separation(recent.astype("float64"), labels)
            if presence_auc >= _PRESENCE_AUC:
                yield (
                    f"whether an account has rows in {source} in the last {_RECENT_DAYS} days has an AUC of "
                    f"{presence_auc:.2f} alone: make sure that these rows do not stop because it has left"
                )

    def _hidden(
        self, frame: pd.DataFrame, labels: np.ndarray, plan: TimePlan, horizon: int
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """Compare the AUC with and without the newest days before `as_of` on the same rows, cross-validated."""
        days = min(_HIDDEN_DAYS, horizon)
        earlier = self._earlier(frame, _list_earlier(horizon, plan))
        keys = earlier[["account_id"]].assign(as_of=earlier["as_of"] + timedelta(days=days), then=range(len(earlier)))
        pairs = frame[["account_id", "as_of"]].assign(now=range(len(frame))).merge(keys, on=["account_id", "as_of"])
        labels = labels[pairs["now"]]
        if min(labels.sum(), (1 - labels).sum()) < _POSITIVES:
            return {}, ()
        now, then = self._bundle.matrix(frame.iloc[pairs["now"]]), self._bundle.matrix(earlier.iloc[pairs["then"]])
        ids = pairs["account_id"]
        with_them, without = cross_validate(now, labels, ids), cross_validate(then, labels, ids)
        if without - 0.5 >= _KEPT * (with_them - 0.5) or with_them < 0.7:
            return {}, ()
        sentence = (
            f"without the newest {days} days before each cutoff the AUC falls from {with_them:.3f} to {without:.3f}"
        )
        if with_them < _HIDDEN_AUC:
            return {}, (f"{sentence}: owners have little time to act; training with lead_days shows what is left",)
        return {
            self._newest(now, then, labels, ids): f"{sentence}: accounts may have left before their recorded end"
        }, ()

    def _earlier(self, frame: pd.DataFrame, as_ofs: list[datetime]) -> pd.DataFrame:
        """Build the snapshots of the frame's accounts at other instants."""
        ids = frame["account_id"].unique()
        wanted = pd.concat([pd.DataFrame({"account_id": ids}).assign(as_of=pd.Timestamp(a)) for a in as_ofs])
        every = {a for horizon, plan in self._plans for a in _list_earlier(horizon, plan)}
        snapshot_cache.build_files(self._settings, self._history, sorted(every.union(as_ofs)))
        return join_snapshots(snapshot_cache.load_parts(self._settings, self._history, as_ofs), wanted)

    def _newest(self, now: np.ndarray, then: np.ndarray, labels: np.ndarray, ids: pd.Series) -> str:
        """Return the source whose newest days restore most of the AUC that hiding all of them cost."""
        auc_by_source = {}
        for source in self._history.sources:
            is_of_source = [source in self._catalog.find_feature(f).sources for f in self._bundle.features]
            auc_by_source[source] = cross_validate(np.where(is_of_source, now, then), labels, ids)
        return max(auc_by_source, key=lambda source: auc_by_source[source])

    def _rest(self, frame: pd.DataFrame, labels: np.ndarray, names: list[str]) -> str:
        """Describe the AUC that all other columns reach together."""
        remaining = [
            i
            for i, f in enumerate(self._bundle.features)
            if f not in names and not set(names) & set(self._catalog.find_feature(f).sources)
        ]
        if not remaining or min(labels.sum(), (1 - labels).sum()) < _FEWEST:
            return "Nothing else is there to tell it"
        rest_auc = cross_validate(self._bundle.matrix(frame)[:, remaining], labels, frame["account_id"])
        return f"All the rest reach {rest_auc:.3f} together"

    def _drifted(self, plan: TimePlan) -> tuple[str, ...]:
        """Describe the columns by which the newest snapshot differs from the training's, if it does."""
        began = from_micros(self._history.all_began)
        described = {name for name, _ in self._history.attributes}
        # A feature that looks back further than the data reach grows with them, and one over all the past by itself.
        reach = (plan.train[0] - began).days
        feature = self._catalog.find_feature
        fit = [i for i, f in enumerate(self._bundle.features) if f in described or _is_within(feature(f), reach)]
        as_ofs = self._keys["as_of"]
        parts = (np.flatnonzero(part) for part in (as_ofs.isin(plan.train), as_ofs == as_ofs.max()))
        old, new = (self._rows(sample_rows(part, min(len(part), _MOST_ROWS // 5), seed=7)) for part in parts)
        if not fit or min(len(old), len(new)) < _POSITIVES:
            return ()
        both = pd.concat([old, new], ignore_index=True)
        is_new = np.repeat([0.0, 1.0], [len(old), len(new)])
        matrix = self._bundle.matrix(both)[:, fit]
        drift_auc = cross_validate(matrix, is_new, both["account_id"])
        if drift_auc < _DRIFT_AUC:
            return ()
        gain = pd.Series(
            fit_booster(matrix, is_new).feature_importance("gain"), [self._bundle.features[i] for i in fit]
        )
        top = ", ".join(gain.sort_values(ascending=False, kind="stable").index[:3])
        return (f"the newest snapshot differs from the training's (AUC {drift_auc:.2f}), most of all by {top}",)


def _list_earlier(horizon: int, plan: TimePlan) -> list[datetime]:
    """Return the last test cutoffs, so many days earlier as are hidden."""
    days = min(_HIDDEN_DAYS, horizon)
    return [cutoff - timedelta(days=days) for cutoff in plan.test[-_CUTOFFS:]]


def _describe_attribute(values: pd.Series, labels: np.ndarray) -> str:
    """Describe what is suspicious about an attribute's values, one per account; return an empty text if nothing is."""
    separated = measure_alone(values, labels)
    if separated.auc >= _ATTRIBUTE_AUC:
        return f"tells the label: {separated.by} alone has AUC {separated.auc:.3f}"
    is_known = values.notna().to_numpy()
    candidates = [("is filled in", is_known)]
    if not pd.api.types.is_numeric_dtype(values):
        common = values.value_counts()
        candidates += [(f"is {v!r}", (values == v).to_numpy()) for v in common[common >= _FEWEST].index[:100]]
    for phrase, rows in candidates:
        share = float(labels[rows].mean()) if rows.any() else 0.0
        if labels[rows].sum() >= _FEWEST and _is_pure(share, _ATTRIBUTE_SHARE, labels, rows):
            return f"tells the label: where it {phrase}, {share:.0%} come true, against {labels.mean():.1%} of all"
    return ""


def _is_within(feature: Feature, reach: int) -> bool:
    """Check that a feature looks back over windows only, none of them further than `reach` days."""
    back = [None if a.days is None else a.before + a.days for a in feature.windowed_measures.values()]
    return bool(back) and all(days is not None and days <= reach for days in back)


def _is_pure(share: float, least: float, labels: np.ndarray, rows: np.ndarray) -> bool:
    """Check that nearly all of these rows are positive, far more than usual, and not just a few of the positives."""
    covered = labels[rows].sum() / max(1.0, labels.sum())
    return bool(share >= least and share >= _LIFT * labels.mean() and covered >= _COVERED)


def _find_present(history: History, source: str, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each row's account has a visible event of the source: ever, and in the last 30 days."""
    time, known_at = SqlText(TABLES[source].time), SqlText("known_at")
    since = visible_from(time, known_at, SQL)
    first = history.query(f"SELECT account_id, min({since}) AS since FROM {source} GROUP BY 1")  # noqa: S608  # the contract's own names
    visible_since = rows["account_id"].map(first.set_index("account_id")["since"]).to_numpy(dtype="float64")
    as_ofs = to_micros_column(rows["as_of"]).to_numpy()
    recent = history.query(
        f"SELECT DISTINCT account_id, as_of FROM {source} JOIN cutoffs "  # noqa: S608  # the contract's own names
        f"ON {is_visible(time, known_at, 'as_of')} AND {time} >= as_of - {_RECENT_DAYS * DAY}",
        cutoffs=pd.DataFrame({"as_of": np.unique(as_ofs)}),
    )
    recent = recent.assign(as_of=to_datetimes(recent["as_of"]))
    matches = rows[["account_id", "as_of"]].merge(recent.assign(there=True), on=["account_id", "as_of"], how="left")
    return visible_since <= as_ofs, matches["there"].notna().to_numpy()
