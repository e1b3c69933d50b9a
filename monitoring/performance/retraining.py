"""Propose to train again, with the reasons: drift, performance below promise, calibration off, enough new labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from features.core.errors import RegistryError
from features.settings import Settings
from features.sources.history import History
from monitoring.drift import drift_report
from monitoring.drift.verdict import DriftVerdict
from monitoring.performance import evaluation
from monitoring.performance.evaluation import AccountGroup, PerformanceReport
from monitoring.performance.new_labels import NewLabels, count_new_labels
from monitoring.performance.scored_rows import ALERTED
from training.models.model import Model
from training.registry import promotion_checks, promotion_log
from training.registry.promotion_log import Promotion

_GOOD_ERROR = 0.02
Kind = Literal["drift", "performance", "calibration", "labels"]


@dataclass(frozen=True)
class RetrainingReason:
    """One reason to train again.

    Args:
        kind: drift, performance, calibration or labels.
        subject: The score that it is about, such as churn_90d, or the target.
        text: In a sentence without a full stop.
        figures: Behind it, by name.
    """

    kind: Kind
    subject: str
    text: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


@dataclass(frozen=True)
class ChampionCheck:
    """What speaks for training a champion again.

    Args:
        target: churn or upsell.
        version: Of the champion.
        reasons: For it; empty where nothing speaks for it.
        remarks: What could not be looked at, and why; and what did not suffice.
    """

    target: str
    version: str
    reasons: tuple[RetrainingReason, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class RetrainingProposal:
    """The checks of all champions."""

    checks: tuple[ChampionCheck, ...]

    @property
    def is_proposed(self) -> bool:
        """Return whether anything speaks for training again."""
        return any(check.reasons for check in self.checks)

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        for check in self.checks:
            verdict = "train again" if check.reasons else "nothing speaks for training again"
            yield f"{check.target}, champion {check.version}: {verdict}."
            yield from (f"  {reason.kind}: {reason}." for reason in check.reasons)
            yield from (f"  {remark}." for remark in check.remarks)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"proposed": self.is_proposed, "targets": {check.target: asdict(check) for check in self.checks}}


def run(settings: Settings) -> RetrainingProposal:
    """Check every champion.

    Raises:
        RegistryError: There is no champion.
        GarrisonError: There are no scores.
    """
    promotions = promotion_log.read_current(settings)
    champions = promotion_log.load_champions(settings)
    if not champions:
        raise RegistryError("no model is champion", hint="Run `python -m training fit`, then `… promote RUN`")
    performance = evaluation.run(settings)
    drift = drift_report.run(settings, as_of=max(s.as_of for s in performance.estimated), with_pages=False)
    with History.open(settings) as history:
        labels = {target: count_new_labels(settings, history, model) for target, model in champions.items()}
    return RetrainingProposal(
        tuple(
            check_champion(settings, promotions[target], model, performance, drift.verdicts[target], labels[target])
            for target, model in champions.items()
        )
    )


def check_champion(  # noqa: PLR0913, PLR0917  # a champion, and all that is known of it
    settings: Settings,
    promotion: Promotion,
    model: Model,
    performance: PerformanceReport,
    drift: DriftVerdict,
    labels: tuple[NewLabels, ...],
) -> ChampionCheck:
    """Collect the reasons to train one champion again."""
    target, reasons, remarks = model.target, [], []
    if drift.state == "watch":
        reasons.append(RetrainingReason("drift", target, drift.sentence.rstrip(".")))
    elif drift.state == "hold":
        remarks.append("the newest snapshot is broken: repair the data first")
    try:
        promised = promotion_checks.read_evidence(settings.paths.mlruns / promotion.bundle)
    except RegistryError:
        promised = {}
        remarks.append(f"what {promotion.version} promised is not known: an older version trained it")
    for horizon in model.horizons:
        name = f"{target}_{horizon}d"
        group = _find_measured(performance, target, horizon, promotion.version)
        if group is None:
            remarks.append(f"{name}: no label of a score by {promotion.version} has matured yet")
            continue
        saved = performance.find_overall(target, horizon, by="alerts", value=ALERTED)
        alerted = f"; {saved.realised.accounts:,} of the scores were alerted on" if saved else ""
        reasons += [
            *compare_with_promise(name, group, promised.get(name, {}), alerted),
            *check_calibration(name, group),
        ]
    for count in labels:
        remark = (
            f"{count.positives:,} positives in {count.rows:,} new labels at {count.cutoffs} cutoffs, "
            f"it learned from {count.learned:,}"
            + (f"; of {count.treated:,} of the new ones owners had been told" if count.treated else "")
        )
        if count.is_enough:
            figures = {k: v for k, v in asdict(count).items() if k != "horizon"}
            reasons.append(RetrainingReason("labels", f"{target}_{count.horizon}d", remark, figures))
        else:
            remarks.append(f"{target}_{count.horizon}d: too few new labels, {remark}")
    return ChampionCheck(target, promotion.version, tuple(reasons), tuple(remarks))


def compare_with_promise(
    name: str, group: AccountGroup, promised: Mapping[str, Any], alerted: str = ""
) -> Iterator[RetrainingReason]:
    """Yield a reason if the measured AUC is below the promised one, beyond the noise of both.

    The interval of the difference is the square-and-add one of the two intervals.
    Source: Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine 17
    (1998), method 10.

    Args:
        name: Of the score.
        group: Of scores by the champion.
        promised: Its evaluation when it was trained: auc, auc_low and auc_high.
        alerted: A remark on the scores that were alerted on.
    """
    measured = group.realised
    if measured.auc is None or measured.auc_high is None or promised.get("auc") is None:
        return
    drop = promised["auc"] - measured.auc
    least = drop - math.hypot(promised["auc"] - promised["auc_low"], measured.auc_high - measured.auc)
    if least > 0:
        text = (
            f"the AUC of {measured.accounts:,} scores is {measured.auc:.3f}, {promised['auc']:.3f} was promised: "
            f"lower by at least {least:.3f}{alerted}"
        )
        figures = {"promised": promised["auc"], "measured": measured.auc, "drop": drop, "least": least}
        yield RetrainingReason("performance", name, text, figures)


def check_calibration(name: str, group: AccountGroup) -> Iterator[RetrainingReason]:
    """Yield a reason if the calibration error is above 0.02 and above what calibrated scores show by chance."""
    error, noise = group.realised.ece, group.estimate.ece_high
    if error is None or noise is None or error <= max(_GOOD_ERROR, noise):
        return
    expected, came = group.estimate.positives, group.realised.positives
    text = (
        f"the calibration error is {error:.3f}, up to {noise:.3f} comes by chance; "
        f"{expected:,.0f} of {group.realised.accounts:,} were expected to come true, {came:,} did"
    )
    yield RetrainingReason("calibration", name, text, {"ece": error, "noise": noise})


def _find_measured(performance: PerformanceReport, target: str, horizon: int, version: str) -> AccountGroup | None:
    """Return the measured performance of one model's scores."""
    own = [s.model for s in performance.realised if (s.target, s.horizon) == (target, horizon)]
    if own and set(own) == {version}:
        return performance.find_overall(target, horizon)
    return performance.find_overall(target, horizon, by="model", value=version)
