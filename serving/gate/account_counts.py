"""Judge whether a run scored the accounts that the last accepted run scored: none lost, none invented."""

from __future__ import annotations

from collections.abc import Iterator

from serving.gate.scored_run import ScoredRun
from serving.gate.verdict import Reason, WarningState

# Shares of the last accepted run's accounts, for runs a month apart or less. Accounts seldom vanish from a source:
# one that left is still an account, though no longer in the cohort.
_LOST_WATCH, _LOST_HOLD = 0.05, 0.2
_NEW_WATCH, _NEW_HOLD = 0.25, 0.6
_COHORT_WATCH, _COHORT_HOLD = 0.2, 0.35
# So few accounts more or less are no reason, however small the company.
_FEW = 5
_MONTH = 31


def judge_account_counts(run: ScoredRun, accepted: ScoredRun | None) -> Iterator[Reason]:
    """Yield the reasons against a run that lie in the number of its accounts, and of its cohorts.

    Args:
        run: The run.
        accepted: The last accepted run before it; None for the first, of which only an empty cohort is held.
    """
    for target, number in run.cohorts.items():
        if number == 0:
            yield Reason("accounts", target, "hold", "no account is in the cohort", {"now": 0})
    if accepted is None:
        return
    months = max(1.0, (run.as_of - accepted.as_of).days / _MONTH)
    before, label = len(accepted.accounts), f"the last accepted run, as of {accepted.as_of:%Y-%m-%d}"
    lost = int((run.accounts.get_indexer(accepted.accounts) < 0).sum())
    if state := _find_state(lost, before, _LOST_WATCH, _LOST_HOLD, months):
        text = f"{lost:,} of the {before:,} accounts of {label}, were not scored this time"
        yield Reason("accounts", "accounts", state, text, {"before": before, "lost": lost})
    new = len(run.accounts) - (before - lost)
    if state := _find_state(new, before, _NEW_WATCH, _NEW_HOLD, months):
        text = f"{new:,} accounts are new since {label}, which had {before:,}"
        yield Reason("accounts", "new accounts", state, text, {"before": before, "new": new})
    for target, now in run.cohorts.items():
        size = accepted.cohorts.get(target, 0)
        if now and (state := _find_state(size - now, size, _COHORT_WATCH, _COHORT_HOLD, months)):
            text = f"{now:,} accounts are in its cohort; {label}, had {size:,}"
            yield Reason("accounts", f"cohort of {target}", state, text, {"before": size, "now": now})


def _find_state(changed: int, before: int, watch: float, hold: float, months: float) -> WarningState | None:
    """Return the state for so many accounts changed; what a month may change, several may change one after another."""
    shares: tuple[tuple[WarningState, float], ...] = (("hold", hold), ("watch", watch))
    return next((s for s, share in shares if changed >= max(_FEW, before * (1 - (1 - share) ** months))), None)
