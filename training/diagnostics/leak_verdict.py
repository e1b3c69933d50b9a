"""What the leak probe found of one target and horizon, the verdict that follows, and the stop."""

from __future__ import annotations

from dataclasses import dataclass, replace

from features.catalog import BUILT_IN, Catalog
from features.core.errors import GarrisonError
from training.evaluation.evaluate import Evaluation

LEAK = "leak_suspected"
_SUSPECT = "suspect "


@dataclass(frozen=True)
class LeakFindings:
    """What the probe says of one target and horizon.

    Args:
        suspects: What stops the run: a sentence by the suspect's name.
        remarks: What is only said.
        doubts: What makes the labels doubtful: it stops a model that has a signal, and explains one that has none.
        catalog: Of the company: whoever trusts a source trusts the features that are measured on it.
    """

    suspects: dict[str, str]
    remarks: tuple[str, ...] = ()
    doubts: dict[str, str] | None = None
    catalog: Catalog = BUILT_IN

    def apply(self, evaluation: Evaluation, trusted: tuple[str, ...]) -> Evaluation:
        """The evaluation with the verdict and reasons that follow; what the settings trust is only remarked on."""
        every = {**self.suspects, **(self.doubts or {})}
        stops = {**self.suspects, **((self.doubts or {}) if evaluation.verdict == "signal" else {})}
        trusted = tuple(n for n in every if {n, *self.catalog.find_feature(n).sources} & set(trusted))
        stops = {name: said for name, said in stops.items() if name not in trusted}
        said = [f"{_SUSPECT}{name}: {sentence}" for name, sentence in stops.items()]
        rest = [
            f"{sentence} ({_explain_trust(name, trusted)})" for name, sentence in every.items() if name not in stops
        ]
        reasons = (*said, *evaluation.reasons, *rest, *self.remarks)
        return replace(evaluation, verdict=LEAK if stops else evaluation.verdict, reasons=reasons)


def _explain_trust(name: str, trusted: tuple[str, ...]) -> str:
    return f"training.trusted names {name}" if name in trusted else "the labels may be wrong"


def raise_on_leak(evaluations: dict[str, Evaluation]) -> None:
    """Stop a run in which a leak is suspected.

    Args:
        evaluations: By target and horizon, such as churn_30d.

    Raises:
        GarrisonError: Naming each suspect once.
    """
    said: dict[str, str] = {}
    for what, e in evaluations.items():
        for reason in e.reasons if e.verdict == LEAK else ():
            if reason.startswith(_SUSPECT):
                # Figures differ by horizon: the first that names a suspect is enough.
                said.setdefault(reason.partition(":")[0], f"{what}: {reason}")
    if said:
        raise GarrisonError(
            f"a leak is suspected, so nothing was registered: {'; '.join(said.values())}",
            hint="Take the suspect out of the TOML; or, if it is truly known before, name it in training.trusted",
        )
