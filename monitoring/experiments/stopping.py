"""Stop an experiment by a rule, with a reason, for good: no lot is drawn under its name again."""

from __future__ import annotations

from datetime import UTC, datetime

from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.core.timestamps import to_micros
from features.state.database import Store
from monitoring.experiments.experiment_status import ExperimentStatus
from monitoring.experiments.experiment_store import HOLDOUT, LOTTERY, end_experiment

EARLY = "early, by no rule"


def find_rule(status: ExperimentStatus) -> str | None:
    """Return the rule by which an experiment may be stopped now; None before one holds.

    The intervals hold at every look, so whoever stops by these rules, or even early, makes no claim more likely that is
    false: an experiment that stops early only learns less.
    """
    alerts = [c for c in status.comparisons if c.purpose in {LOTTERY, HOLDOUT}]
    if any(c.estimate.verdict == "harms" for c in alerts):
        return "alerts do harm"
    if status.comparisons and all(c.estimate.verdict != "open" for c in status.comparisons):
        return "every question is answered"
    if status.planned_end is not None and status.as_of >= status.planned_end:
        return "the planned length is over"
    return None


def stop_experiment(store: Store, status: ExperimentStatus, *, reason: str, by: str, early: bool = False) -> str:
    """Stop the experiment of a status, and return the rule that allows it.

    Args:
        store: The state database.
        status: Of the experiment, at this look.
        reason: Why, in words.
        by: Who stops it.
        early: Whether to stop it although no rule allows it yet.

    Raises:
        GarrisonError: No rule allows it, the reason is missing, it has not begun, or it was stopped before.
    """
    if not reason.strip():
        raise GarrisonError("an experiment is not stopped without a reason", hint="Give it: --reason '…'")
    rule = find_rule(status)
    if rule is None and not early and status.state == "running":
        raise GarrisonError(
            f"no rule says to stop the experiment {status.name!r} now",
            found=f"alerts do no harm, not every question is answered, and it is planned until "
            f"{status.planned_end:%Y-%m-%d}",
            hint="With --early it is stopped all the same: what it has shown stays valid, and it learns no more",
        )
    rule = rule or EARLY
    with store.writing() as connection:
        end_experiment(
            connection,
            status.name,
            by=by,
            rule=rule,
            reason=to_safe_line(reason, 500),
            now=to_micros(datetime.now(UTC)),
        )
    return rule
