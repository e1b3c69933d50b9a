"""State the verdict on a scored run: ok, watch or hold, with the reasons in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

State = Literal["ok", "watch", "hold"]
WarningState = Literal["watch", "hold"]
# From the best to the worst: a run is as bad as its worst reason.
STATES: tuple[State, ...] = ("ok", "watch", "hold")
ReasonKind = Literal["source", "column", "scores", "accounts"]
# Scores that look from longer ago than this may have been judged by the clock by mistake.
_RECENT = timedelta(days=2)


@dataclass(frozen=True)
class Reason:
    """One reason against acting on a run.

    Args:
        kind: What it is about: a source, a column that a champion reads, the scores, or the number of accounts.
        subject: The name of that source, column or score; the target for accounts.
        state: `watch` where a person should look, `hold` where nobody should act on the scores.
        text: The reason in one sentence with its figure and the usual value, without the subject and a full stop.
        figures: The figures behind the sentence, by name.
    """

    kind: ReasonKind
    subject: str
    state: WarningState
    text: str
    figures: Mapping[str, float | str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on one scored run.

    Args:
        run: The run's id, as in its score table.
        as_of: The instant of its scores.
        judged_at: When it was judged.
        judged_until: The instant at which its data should be up to date.
        reasons: Against acting on it, the worst first.
        figures: What was measured, by name: `psi churn_90d`, `accounts`, `cohort churn`.
        compared_with: The run that its scores were compared with; None for the first run.
        models: The champions' versions, by target.
    """

    run: str
    as_of: datetime
    judged_at: datetime
    judged_until: datetime
    reasons: tuple[Reason, ...]
    figures: Mapping[str, float]
    compared_with: str | None
    models: Mapping[str, str]

    @property
    def state(self) -> State:
        """Return whether the run may be acted on (ok), with a note (watch), or not (hold)."""
        return max((reason.state for reason in self.reasons), key=STATES.index, default="ok")

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        yield f"Verdict on run {self.name} as of {self.as_of:%Y-%m-%d}: {self.state}."
        yield from (f"  {reason.state}: {reason}" for reason in self.reasons)

    @property
    def name(self) -> str:
        """Return the beginning of the run's id, by which commands find it."""
        return self.run[:8]

    @property
    def cause(self) -> str:
        """Return what holds the run, by name: `usage, churn_90d`."""
        return ", ".join(dict.fromkeys(reason.subject for reason in self.reasons if reason.state == "hold"))

    @property
    def advice(self) -> str:
        """Return what to do about a held run."""
        text = f"Repair the data and score again, or decide: `python -m monitoring release {self.name} --reason …`"
        if self.judged_until - self.as_of > _RECENT:
            text += f"; to look from the end of the data, give --as-of {self.as_of:%Y-%m-%d}"
        return text

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        instants = {name: getattr(self, name).isoformat() for name in ("as_of", "judged_at", "judged_until")}
        return asdict(self) | instants | {"state": self.state}
