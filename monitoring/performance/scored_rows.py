"""Read stored scores with what their evaluation needs: labels, thresholds, alerts, and what divides the accounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.errors import RegistryError
from features.core.timestamps import from_micros, to_datetimes, to_micros
from features.settings import Settings
from features.sources.history import History
from features.sources.mapping import quote_identifier
from features.state.database import Store
from features.state.tables import EPISODES, OUTBOX, SCORES
from monitoring.notifications.dead_letters import SENT
from serving.scoring import score_table
from training.decisions.levels import find_churn_levels
from training.models.model import Model
from training.registry import promotion_log
from training.targets.labels import compute_labels, compute_mature_until

ALERTED, UNSENT, NO_EPISODE = "alerted", "episode, unsent", "no episode"
_COLUMNS = ("account_id", "as_of", "score", "model")


@dataclass(frozen=True)
class ScoredRows:
    """The stored scores of one target and horizon at some cutoffs.

    Args:
        target: churn or upsell.
        horizon: In days.
        frame: account_id, as_of (µs), score, model (version), label (1, 0, NaN where it has not matured); threshold (of
            alerts; NaN where the model is gone); alerts, tier, owner and the text attributes of the accounts.
        divided_by: The columns that divide the accounts.
    """

    target: str
    horizon: int
    frame: pd.DataFrame
    divided_by: tuple[str, ...]

    @property
    def is_above(self) -> np.ndarray | None:
        """Return which rows reached the threshold of alerts; None if it is not known of all."""
        thresholds = self.frame["threshold"].to_numpy()
        return None if np.isnan(thresholds).any() else self.frame["score"].to_numpy() >= thresholds

    def select(self, mask: np.ndarray | pd.Series) -> ScoredRows:
        """Return some of the rows."""
        return ScoredRows(self.target, self.horizon, self.frame[np.asarray(mask)], self.divided_by)


class ScoreReader:
    """Reads the stored scores of a company.

    Args:
        settings: Of the company.
        state: Its state database.
        history: Its history, for labels and attributes.
        data_until: The instant the data are complete until.
    """

    def __init__(self, settings: Settings, state: Store, history: History, data_until: datetime) -> None:
        self._settings, self.state, self._history, self._until = settings, state, history, data_until
        self._models: dict[str, Model | None] = {}

    def list_scored(self) -> Iterator[tuple[str, int, list[int]]]:
        """Yield each target and horizon with the instants (µs, ascending) that have scores of its cohort."""
        kinds = sa.select(SCORES.c.target, SCORES.c.horizon, SCORES.c.as_of).where(_is_in_cohort()).distinct()
        with self.state.reading() as connection:
            instants = pd.DataFrame(connection.execute(kinds).all(), columns=["target", "horizon", "as_of"])
        for (target, horizon), rows in instants.groupby(["target", "horizon"]):
            if target in self._settings.targets:
                yield str(target), int(horizon), sorted(rows["as_of"])

    def find_mature(self, target: str, horizon: int, as_ofs: Sequence[int]) -> list[int]:
        """Return the instants whose labels are mature; of several in a month the first."""
        last = to_micros(compute_mature_until(self._settings.targets[target], horizon, self._until))
        by_month: dict[str, int] = {}
        for at in as_ofs:
            if at <= last:
                by_month.setdefault(f"{from_micros(at):%Y-%m}", at)
        return [*by_month.values()]

    def read(self, target: str, horizon: int, as_ofs: Sequence[int]) -> ScoredRows:
        """Read the cohort's scores at these instants, with their labels."""
        frame = pd.concat([self._read_scores(target, horizon, at) for at in as_ofs], ignore_index=True)
        pairs = frame[["account_id"]].assign(as_of=to_datetimes(frame["as_of"]))
        rule = self._settings.targets[target]
        frame["label"] = compute_labels(self._history, rule, horizon, pairs, data_until=self._until)
        thresholds = {version: self.find_threshold(version, horizon) for version in frame["model"].unique()}
        frame["threshold"] = frame["model"].map(thresholds).astype("float64")
        frame["alerts"] = self._find_alerts(target, frame)
        frame["tier"] = self._find_tiers(frame)
        frame = frame.join(self._attributes, on="account_id")
        return ScoredRows(target, horizon, frame, ("alerts", "tier", *self._attributes.columns))

    def _read_scores(self, target: str, horizon: int, as_of: int) -> pd.DataFrame:
        conditions = (SCORES.c.target == target, SCORES.c.horizon == horizon, SCORES.c.as_of == as_of)
        query = sa.select(*(SCORES.c[c] for c in _COLUMNS)).where(*conditions, _is_in_cohort())
        with self.state.reading() as connection:
            rows = connection.execute(query.order_by(SCORES.c.account_id)).all()
        return pd.DataFrame(rows, columns=_COLUMNS)

    def find_threshold(self, version: str, horizon: int) -> float:
        """Return the score at which alerts enter by this model; NaN if it or its horizon is gone."""
        model = self.load_model(version)
        if model is None or horizon not in model.horizons:
            return float("nan")
        return find_churn_levels(self._settings, model.base_rates[horizon]).enter

    def load_model(self, version: str) -> Model | None:
        """Load a model that was once champion, by its version; None if it is gone."""
        if version not in self._models:
            promotions = {p.version: p for p in promotion_log.read_promotions(self._settings)}
            try:
                self._models[version] = promotion_log.load_model(self._settings, promotions[version])
            except (KeyError, RegistryError):
                self._models[version] = None
        return self._models[version]

    def _find_alerts(self, target: str, frame: pd.DataFrame) -> np.ndarray:
        """Return whether each account had an open episode at the instant, and whether its message was sent."""
        alerts = np.full(len(frame), NO_EPISODE, dtype=object)
        episodes = read_episodes(self.state, target)
        for at, rows in frame.groupby("as_of"):
            is_open = (episodes["opened_as_of"] <= at) & ~(episodes["closed_as_of"] <= at)
            sent = set(episodes.loc[is_open & (episodes["state"] == SENT), "account_id"])
            opened = set(episodes.loc[is_open, "account_id"])
            accounts = rows["account_id"]
            alerts[rows.index[accounts.isin(opened)]] = UNSENT
            alerts[rows.index[accounts.isin(sent)]] = ALERTED
        return alerts

    def _find_tiers(self, frame: pd.DataFrame) -> pd.Series:
        """Return each account's tier at the instant; missing where the score table is gone."""
        tiers = pd.Series(index=frame.index, dtype=object)
        for at, rows in frame.groupby("as_of"):
            stored = score_table.read_tiers(self._settings, from_micros(int(at)))
            if stored is not None:
                tiers[rows.index] = rows["account_id"].map(stored)
        return tiers

    @cached_property
    def _attributes(self) -> pd.DataFrame:
        """Return the owner and the text attributes of each account, as its record has them now."""
        names = [c for c, kind in self._history.attributes if kind == "string"]
        columns = ", ".join(quote_identifier(c) for c in names)
        sql = f"SELECT account_id, owner_email AS owner{', ' if names else ''}{columns} FROM accounts"  # noqa: S608  # quoted
        return self._history.query(sql).set_index("account_id").astype(object)


def read_episodes(state: Store, target: str) -> pd.DataFrame:
    """Read a target's episodes, a row each.

    Returns:
        account_id, opened_as_of and closed_as_of (µs as float64, NaN where open), state and reason of the message.
    """
    columns = (EPISODES.c.account_id, EPISODES.c.opened_as_of, EPISODES.c.closed_as_of, OUTBOX.c.state, OUTBOX.c.reason)
    joined = sa.select(*columns).outerjoin_from(EPISODES, OUTBOX, OUTBOX.c.id == EPISODES.c.message_id)
    with state.reading() as connection:
        rows = connection.execute(joined.where(EPISODES.c.kind == target)).all()
    frame = pd.DataFrame(rows, columns=[c.name for c in columns])
    return frame.astype({"opened_as_of": "float64", "closed_as_of": "float64"})


def _is_in_cohort() -> sa.ColumnElement[bool]:
    return SCORES.c.in_cohort.is_not(False)
