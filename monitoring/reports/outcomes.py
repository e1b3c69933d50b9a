"""Count what became of alerts, by cause, kind, play and owner; and what lots say that they did.

An outcome that a person states is no effect: "saved" may have stayed anyway. So beside the counts stands what lots
showed of the same cause, kind, play or owner, where they were drawn. Below so few episodes nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa
from rich.table import Table

from features.core.safe_line import to_safe_line
from features.core.timestamps import DAY, to_datetimes
from features.definitions.plays import PLAYS
from features.settings import Settings
from features.settings.cli import table
from features.sources.history import History
from features.state.database import Store
from features.state.tables import ALERT_CHOICES, EPISODE_EVENTS, EPISODES, EXPERIMENT_DRAWS
from monitoring.alerts import kinds
from monitoring.experiments.effect import EffectEstimate, estimate_effect
from monitoring.experiments.experiment_store import LOTTERY
from training.evaluation.calibration_error import compute_wilson_interval
from training.models.dataset import find_data_until
from training.targets.labels import compute_labels

GROUPINGS = ("cause", "kind", "play", "owner")
# Episodes with an outcome below which a share is not told.
LEAST = 20
# What says how it ended; expired and merged episodes say nothing of it.
_TELLING = (kinds.SAVED, kinds.LEFT, kinds.RECOVERED, kinds.FALSE_ALARM)
_TOUCHED_WITHIN = 30 * DAY  # µs
_COUNTS = ("alerts", "told", "acknowledged", "touched", "open", *_TELLING, "other")


@dataclass(frozen=True)
class Share:
    """A share of the episodes with an outcome, with the ends of its 95 % interval; all None below `LEAST`."""

    share: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, number: int, total: int) -> Share:
        """Compute the share, its interval Wilson's."""
        if total < LEAST:
            return cls(None, None, None)
        return cls(number / total, *compute_wilson_interval(number / total, total))

    def __str__(self) -> str:
        if self.share is None or self.low is None or self.high is None:
            return "can't be told"
        return f"{self.share:.0%} ({self.low:.0%} to {self.high:.0%})"


@dataclass(frozen=True)
class GroupOutcomes:
    """What became of the alerts of one cause, kind, play or owner.

    Args:
        name: Of the group; "" where it is not known.
        counts: alerts, told, acknowledged, touched (within 30 days; where touches are recorded), open, saved, left,
            recovered, false_alarm, other (expired, merged).
        saved: Of the episodes with an outcome.
        left: Of these.
        false_alarm: Of these.
        effect: On retention, of the lots drawn among its accounts; None without both arms.
    """

    name: str
    counts: dict[str, int]
    saved: Share
    left: Share
    false_alarm: Share
    effect: EffectEstimate | None

    @property
    def says_effect(self) -> str:
        """Return what lots showed, in points of retention."""
        found = self.effect
        if found is None or found.effect is None or found.low is None or found.high is None:
            return "can't be told"
        return f"{100 * found.effect:+.0f} ({100 * found.low:+.0f} to {100 * found.high:+.0f})"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        shares = {name: asdict(getattr(self, name)) for name in ("saved", "left", "false_alarm")}
        found = self.effect
        effect = found and {key: getattr(found, key) for key in ("treated", "control", "effect", "low", "high")}
        return {"name": self.name, "counts": self.counts, "shares": shares, "effect": effect}


@dataclass(frozen=True)
class OutcomeReport:
    """What became of all alerts, in all groupings.

    Args:
        total: All together.
        groups: By grouping, the largest group first.
    """

    total: GroupOutcomes
    groups: dict[str, tuple[GroupOutcomes, ...]]

    def lines(self) -> Iterator[str]:
        """Yield the whole in sentences."""
        counts = self.total.counts
        yield (
            f"{counts['alerts']:,} alerts, {counts['told']:,} told, {counts['acknowledged']:,} acknowledged; "
            f"{counts['saved']:,} stated as saved, {counts['left']:,} left, {counts['recovered']:,} recovered, "
            f"{counts['false_alarm']:,} false alarms, {counts['open']:,} open"
        )
        yield (
            "Shares are of the alerts with an outcome, with 95 % intervals. Who states 'saved' can't know what would "
            "have been: what alerts do, lots alone tell (effect, points of retention)."
        )

    def tabulate(self) -> Iterator[Table]:
        """Yield a table for each grouping."""
        for grouping, groups in self.groups.items():
            numbers = ("alerts", "told", "acked", "saved", "left", "recovered", "false alarm")
            shares = ("saved, share", "left, share", "false alarm, share", "effect by lot")
            rows = table(f"by {grouping}", *numbers, *shares, right=numbers)
            for group in groups:
                c = group.counts
                shown = (c["alerts"], c["told"], c["acknowledged"], c["saved"], c["left"], c["recovered"])
                rows.add_row(
                    _show_name(grouping, group.name),
                    *(f"{number:,}" for number in (*shown, c["false_alarm"])),
                    *map(str, (group.saved, group.left, group.false_alarm)),
                    group.says_effect,
                )
            yield rows

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        by = {f"by_{name}": [group.as_dict() for group in groups] for name, groups in self.groups.items()}
        return {"total": self.total.as_dict(), "least": LEAST, **by}


def report_outcomes(
    settings: Settings, store: Store, history: History, *, groupings: Sequence[str] = GROUPINGS
) -> OutcomeReport:
    """Report what became of the alerts raised so far.

    Args:
        settings: The company's.
        store: Its state database.
        history: Its history: touches where they are recorded, and who stayed.
        groupings: Of `GROUPINGS`.
    """
    episodes = _read_episodes(store, history)
    draws = _read_draws(settings, store, history)
    groups = {}
    for grouping in groupings:
        names = sorted(episodes[grouping].unique(), key=lambda name: (-(episodes[grouping] == name).sum(), name))
        groups[grouping] = tuple(
            _summarise(name, episodes[episodes[grouping] == name], draws[draws[grouping] == name]) for name in names
        )
    return OutcomeReport(_summarise("", episodes, draws), groups)


def _summarise(name: str, episodes: pd.DataFrame, draws: pd.DataFrame) -> GroupOutcomes:
    outcome = episodes["outcome"]
    counts = {
        "alerts": len(episodes),
        **{flag: int(episodes[flag].sum()) for flag in ("told", "acknowledged", "touched")},
        "open": int((outcome == "").sum()),
        **{key: int((outcome == key).sum()) for key in _TELLING},
    }
    decided = sum(counts[key] for key in _TELLING)
    counts["other"] = len(episodes) - decided - counts["open"]
    saved, left, false_alarm = (Share.of(counts[key], decided) for key in (kinds.SAVED, kinds.LEFT, kinds.FALSE_ALARM))
    has_both_arms = draws["treated"].any() and not draws["treated"].all()
    effect = estimate_effect(draws) if has_both_arms else None
    return GroupOutcomes(name, counts, saved, left, false_alarm, effect)


def _read_episodes(store: Store, history: History) -> pd.DataFrame:
    """Read each episode's cause, kind, play, owner and outcome ("" where open), and what was done about it."""
    e, names = EPISODES.c, ("id", "account_id", "kind", "cause", "play", "owner", "opened_as_of", "outcome")
    happened = EPISODE_EVENTS.c
    with store.reading() as connection:
        rows = connection.execute(sa.select(*(e[name] for name in names))).all()
        events = connection.execute(sa.select(happened.episode_id, happened.event).distinct()).all()
    frame = pd.DataFrame(rows, columns=list(names)).fillna(dict.fromkeys(("cause", "play", "owner", "outcome"), ""))
    by_event = {kind: {row.episode_id for row in events if row.event == kind} for kind in {r.event for r in events}}
    acknowledged = by_event.get(kinds.ACKNOWLEDGED, set())
    touched = _find_touched(frame, history)
    return frame.assign(
        told=frame["id"].isin(by_event.get(kinds.NOTIFIED, set()) | acknowledged),
        acknowledged=frame["id"].isin(acknowledged),
        touched=frame["id"].isin(touched),
    )


def _find_touched(episodes: pd.DataFrame, history: History) -> set[str]:
    """Find the episodes whose account was called, visited or written to within 30 days of their opening."""
    if "touches" not in history.tables or episodes.empty:
        return set()
    touches = history.query("SELECT account_id, touched_at AS at FROM touches")
    both = episodes[["id", "account_id", "opened_as_of"]].merge(touches, on="account_id")
    since = both["at"].astype("int64") - both["opened_as_of"].astype("int64")
    return set(both.loc[(since >= 0) & (since < _TOUCHED_WITHIN), "id"])


def _read_draws(settings: Settings, store: Store, history: History) -> pd.DataFrame:
    """Read the lottery's draws with what became of the accounts, by what each was a candidate for."""
    d, c = EXPERIMENT_DRAWS.c, ALERT_CHOICES.c
    columns = (d.unit, d.account_id, d.as_of, d.treated, d.probability, d.score, d.value, d.tier, d.owner, c.play)
    same = (c.as_of == d.as_of) & (c.account_id == d.account_id) & (c.kind == kinds.CHURN)
    wanted = (d.purpose == LOTTERY) & (d.experiment == settings.experiment.name)
    query = sa.select(*columns).outerjoin(ALERT_CHOICES, same).where(wanted)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(d.as_of, d.unit)).all()
    frame = pd.DataFrame(rows, columns=[column.name for column in columns]).assign(kind=kinds.CHURN)
    frame = frame.astype({"treated": bool, "as_of": "int64", "score": float, "value": float, "probability": float})
    frame = frame.fillna({"play": "", "owner": ""})
    frame["cause"] = [PLAYS[play].cause if play in PLAYS else "" for play in frame["play"]]
    if frame.empty:
        return frame.assign(kept=pd.Series(dtype=float))
    pairs = frame[["account_id"]].assign(as_of=to_datetimes(frame["as_of"]))
    until = find_data_until(history, settings)
    labels = compute_labels(history, settings.churn, settings.alert_horizon, pairs, data_until=until)
    return frame.assign(kept=1.0 - labels.to_numpy()).dropna(subset=["kept"])


def _show_name(grouping: str, name: str) -> str:
    if not name:
        return "not known"
    if grouping == "kind":
        return kinds.KINDS.get(name, name)
    if grouping == "play":
        return PLAYS[name].title if name in PLAYS else to_safe_line(name)
    return to_safe_line(name.partition("@")[0], 40)
