"""What there is to learn: by rule of cohort and label the accounts of each month, and which rule drops how many.

The figures are computed by `training.targets.label_overview`, where cohorts and labels are defined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class LabelMonth:
    """One cutoff under one rule.

    Args:
        as_of: The cutoff.
        accounts: Those that exist then.
        cohort: Those of them in the cohort.
        asked: Those of the cohort with a label; the others' is not asked, or not mature yet.
        positives: Those of them that leave, or buy more.
    """

    as_of: datetime
    accounts: int
    cohort: int
    asked: int
    positives: int

    @property
    def rate(self) -> float | None:
        """Return the share of the asked that came true; None where nobody is asked."""
        return self.positives / self.asked if self.asked else None

    def as_dict(self) -> dict[str, Any]:
        """Return the month for JSON."""
        return vars(self) | {"as_of": self.as_of.date().isoformat(), "rate": self.rate}


@dataclass(frozen=True)
class RuleStep:
    """One of the conditions of a cohort, in the order in which they are applied.

    Args:
        condition: In words, such as `have a term (term_starts_at, term_ends_at)`.
        accounts: How many accounts satisfy it and all before it, at any cutoff.
    """

    condition: str
    accounts: int


@dataclass(frozen=True)
class RuleReport:
    """One rule: who is in the cohort, what the label is, and how far ahead it looks.

    Args:
        target: Such as churn.
        cohort: Its kind with its limits.
        label: Likewise.
        horizon: In days.
        configured: Whether it is the one of the settings, or an alternative that the tables allow.
        months: By cutoff, ascending.
        steps: The conditions of the cohort.
        plan: The split in time in words; empty where there is none.
        problem: What stops the training, in words; empty where nothing does.
        is_young: Whether that is the short history alone, which time mends and no setting.
    """

    target: str
    cohort: str
    label: str
    horizon: int
    configured: bool
    months: tuple[LabelMonth, ...]
    steps: tuple[RuleStep, ...]
    plan: str = ""
    problem: str = ""
    is_young: bool = False

    @property
    def name(self) -> str:
        """Return the target and horizon, such as churn_90d."""
        return f"{self.target}_{self.horizon}d"

    @property
    def rate(self) -> float | None:
        """Return the share of all rows with a label that came true."""
        asked = sum(m.asked for m in self.months)
        return sum(m.positives for m in self.months) / asked if asked else None

    def __str__(self) -> str:
        rates = [m.rate for m in self.months if m.rate is not None]
        sizes = [m.cohort for m in self.months]
        said = f"{self.name}, cohort {self.cohort}, label {self.label}"
        if self.rate is None or not rates:
            return f"{said}: no label to learn from"
        spread = f", by month {min(rates):.1%} to {max(rates):.1%}" if len(rates) > 1 else ""
        count = f"{len(rates)} month{'s' if len(rates) > 1 else ''}"
        return (
            f"{said}: {count}, cohort of {min(sizes):,} to {max(sizes):,} accounts, base rate {self.rate:.1%}{spread}"
        )

    def describe_steps(self) -> str:
        """Describe what each condition of the cohort leaves."""
        return "; ".join(f"{step.accounts:,} {step.condition}" for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """Return the rule for JSON."""
        months, steps = [m.as_dict() for m in self.months], [vars(step) for step in self.steps]
        return vars(self) | {"months": months, "steps": steps, "rate": self.rate}


@dataclass(frozen=True)
class LabelReport:
    """What there is to learn under the rules of the settings and under the alternatives.

    Args:
        rules: All of them, those of the settings first.
    """

    rules: tuple[RuleReport, ...]

    @property
    def configured(self) -> tuple[RuleReport, ...]:
        """Return the rules of the settings."""
        return tuple(rule for rule in self.rules if rule.configured)

    @property
    def alternatives(self) -> tuple[RuleReport, ...]:
        """Return the other rules that the tables allow."""
        return tuple(rule for rule in self.rules if not rule.configured)

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what stops the training, each thing once."""
        return tuple(dict.fromkeys(f"{r.name}: {r.problem}" for r in self.configured if r.problem))

    @property
    def faults(self) -> tuple[str, ...]:
        """Return the problems that a change of the settings or the data would mend, and time alone would not."""
        return tuple(dict.fromkeys(f"{r.name}: {r.problem}" for r in self.configured if r.problem and not r.is_young))

    def answer(self, sources: Sequence[str]) -> Iterator[str]:
        """Yield the answer to whether one can train, and on what."""
        trainable = [rule for rule in self.configured if not rule.problem]
        if self.problems:
            others = f", but {', '.join(rule.name for rule in trainable)} can" if trainable else ""
            yield f"Can you train? Not all{others}:" if trainable else "Can you train? Not yet:"
            yield from (f"  {problem}" for problem in self.problems)
        else:
            yield f"Can you train? Yes, on {', '.join(sources)}:"
        yield from (f"  {rule}" for rule in trainable)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"can_train": not self.problems, "rules": [rule.as_dict() for rule in self.rules]}
