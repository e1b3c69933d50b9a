"""Applies the findings of the leak probe to the verdict of one target and horizon, and stops a run on a leak."""

from __future__ import annotations

from dataclasses import dataclass, replace

from features.catalog import BUILT_IN, Catalog
from features.core.errors import GarrisonError
from training.evaluation.evaluate import Evaluation

LEAK = "leak_suspected"
_SUSPECT = "suspect "


@dataclass(frozen=True)
class LeakFindings:
    """Findings of the leak probe on one target and horizon.

    Args:
        suspects: Findings that stop the run: a sentence by the suspect's name.
        remarks: Findings that stop nothing.
        doubts: Findings that make the labels doubtful: they stop a model with a signal, and explain one without.
        catalog: Of the company: whoever trusts a source trusts the features that are measured on it.
    """

    suspects: dict[str, str]
    remarks: tuple[str, ...] = ()
    doubts: dict[str, str] | None = None
    catalog: Catalog = BUILT_IN

    def apply(self, evaluation: Evaluation, trusted: tuple[str, ...]) -> Evaluation:
        """Return the evaluation with the resulting verdict and reasons; what the settings trust becomes a remark."""
        findings = {**self.suspects, **(self.doubts or {})}
        stops = {**self.suspects, **((self.doubts or {}) if evaluation.verdict == "signal" else {})}
        trusted = tuple(n for n in findings if {n, *self.catalog.find_feature(n).sources} & set(trusted))
        stops = {name: suspicions for name, suspicions in stops.items() if name not in trusted}
        suspicions = [f"{_SUSPECT}{name}: {sentence}" for name, sentence in stops.items()]
        remarks = [
            f"{sentence} ({_explain_trust(name, trusted)})" for name, sentence in findings.items() if name not in stops
        ]
        reasons = (*suspicions, *evaluation.reasons, *remarks, *self.remarks)
        return replace(evaluation, verdict=LEAK if stops else evaluation.verdict, reasons=reasons)


def _explain_trust(name: str, trusted: tuple[str, ...]) -> str:
    """Return the reason why a finding does not stop the run."""
    return f"training.trusted names {name}" if name in trusted else "the labels may be wrong"


def raise_on_leak(evaluations: dict[str, Evaluation]) -> None:
    """Raise an error if a leak is suspected in any evaluation.

    Args:
        evaluations: By target and horizon, such as churn_30d.

    Raises:
        GarrisonError: Naming each suspect once.
    """
    sentences: dict[str, str] = {}
    for key, e in evaluations.items():
        for reason in e.reasons if e.verdict == LEAK else ():
            if reason.startswith(_SUSPECT):
                # Figures differ by horizon: the first that names a suspect is enough.
                sentences.setdefault(reason.partition(":")[0], f"{key}: {reason}")
    if sentences:
        raise GarrisonError(
            f"a leak is suspected, so nothing was registered: {'; '.join(sentences.values())}",
            hint="Take the suspect out of the TOML; or, if it is truly known before, name it in training.trusted",
        )
