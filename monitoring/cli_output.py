"""Print what alerting and delivering did, and build the same as plain data for machines; no e-mail addresses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from features.core.safe_line import to_safe_line
from features.core.timestamps import to_micros
from features.settings.cli import table
from features.state.message_states import UNDELIVERABLE
from monitoring.alerts.choice import IS_OPEN
from monitoring.alerts.episode_report import show_owner
from monitoring.alerts.kinds import KINDS
from monitoring.alerts.lifecycle import AlertRun
from monitoring.alerts.mailing import DIGEST, LETTER, PACKET, TEAM
from monitoring.alerts.queries import format_instant
from monitoring.letters import wording
from monitoring.notifications.claims import FAILED
from monitoring.notifications.dead_letters import BOUNCED
from monitoring.notifications.outbox import Delivery
from serving.gate.verdict_store import JudgedRun

# Accounts that the table in the terminal shows; JSON has all.
_SHOWN = 20

_ADVICE = {
    FAILED: "`deliver --resend {id}`, if need be `--to ADDRESS`",
    BOUNCED: "`deliver --resend {id} --to ADDRESS`",
    UNDELIVERABLE: "`deliver --resend {id} --to ADDRESS`",
}


def format_alerts(run: AlertRun, *, dry_run: bool) -> Iterator[str]:
    """Yield the lines that sum up a run of the alerts."""
    as_of = format_instant(to_micros(run.as_of))
    if not run.fresh:
        yield f"Alerts as of {as_of} have been raised already: nothing to do."
        return
    limits = run.thresholds
    if dry_run:
        yield "Dry run: nothing is written."
    yield f"As of {as_of}, {run.considered:,} accounts in the cohort."
    yield f"Risk within {run.days} days by {limits.model}: enters at {limits.enter:.3f}, ends below {limits.leave:.3f}."
    outcomes = Counter(c.outcome for c in run.closed)
    ends = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items()))
    yield (
        f"Episodes: {len(run.opened):,} opened, {len(run.continued):,} continue, "
        f"{len(run.closed):,} closed{f' ({ends})' if ends else ''}."
    )
    by_kind = Counter(KINDS[o.score.kind] for o in run.opened)
    if by_kind:
        yield f"  opened: {', '.join(f'{count:,} {kind}' for kind, count in by_kind.most_common())}"
    # An obstacle may name a day, an account or a person: those words apart, it is a kind of reason.
    reasons = Counter(
        re.split(r"[:,]| until ", c.reason)[0] for c in run.choices if not c.chosen and c.reason != IS_OPEN
    )
    for reason, count in reasons.most_common():
        yield f"  not opened: {count:,} {reason}"
    if not run.opened:
        yield "No account entered risk: no message was written."
        return
    yield from _describe_mailing(run)


def _describe_mailing(run: AlertRun) -> Iterator[str]:
    """Yield how owners hear of the episodes that speak in this run, and who else does."""
    speakers = [(o.episode, o.binding) for o in run.opened]
    speakers += [(t.going.episode.id, t.binding) for t in run.told_again]
    forms = Counter(run.mailing.forms.get(episode, UNDELIVERABLE) for episode, _ in speakers)
    lost = forms[UNDELIVERABLE]
    spare = [bound for _, bound in speakers if bound.owner is not None and bound.owner.is_fallback]
    own = len(speakers) - len(spare) - lost
    yield (
        f"Messages: {forms[LETTER]:,} in letters, {forms[DIGEST]:,} in digests; {own:,} to owners, "
        f"{len(spare):,} to the fallback, {lost:,} without a recipient."
    )
    for fault, number in Counter(bound.fault for _, bound in speakers if bound.fault).most_common():
        yield f"  {number:,} have no owner that a letter can reach: {fault}"
    kinds = Counter(row["kind"] for row in run.mailing.rows)
    if kinds[TEAM] or kinds[PACKET]:
        teams = wording.count(kinds[TEAM], "team", "teams")
        packets = wording.count(kinds[PACKET], "review packet", "review packets")
        yield f"Also told: {teams} by cause, and sponsors by {packets}."


def tabulate_alerts(run: AlertRun, *, currency: str) -> Table:
    """Build the table of new episodes, the most expected loss avoided first."""
    value = f"{currency} a year"
    rows = table("account", "name", "kind", "owner", "risk", value, "message", right=("risk", value))
    for opened in run.opened[:_SHOWN]:
        score = opened.score
        money = "not known" if score.value is None else f"{score.value:,.0f}"
        owner = opened.binding.owner
        about = _show_name(opened.binding.name), KINDS[score.kind], show_owner(owner.address if owner else None)
        form = run.mailing.forms.get(opened.episode, UNDELIVERABLE)
        rows.add_row(to_safe_line(score.account_id), *about, f"{score.score:.0%}", money, form)
    if len(run.opened) > _SHOWN:
        rows.add_row("…", f"and {len(run.opened) - _SHOWN:,} more", "", "", "", "", "")
    return rows


def build_alerts_json(run: AlertRun, *, dry_run: bool) -> dict[str, Any]:
    """Return a run of the alerts as plain data, with every account."""
    return {
        "as_of": run.as_of.isoformat(),
        "horizon": run.horizon,
        "lead_days": run.lead,
        **asdict(run.thresholds),
        "considered": run.considered,
        "opened": [
            {
                "episode": o.episode,
                "account_id": o.score.account_id,
                "kind": o.score.kind,
                "score": o.score.score,
                "expected": o.choice.candidate.expected,
                "value": o.score.value,
                "message": run.mailing.forms.get(o.episode, UNDELIVERABLE),
                "reason": o.binding.fault,
            }
            for o in run.opened
        ],
        "continued": len(run.continued),
        "closed": [
            {"episode": c.episode.id, "account_id": c.episode.account_id, "outcome": c.outcome, "score": c.score}
            for c in run.closed
        ],
        "fresh": run.fresh,
        "dry_run": dry_run,
    }


def tabulate_verdicts(runs: Sequence[JudgedRun]) -> Table:
    """Build the table of judged runs, a row each."""
    rows = table("as of", "run", "verdict", "decision", "reasons")
    for judged in runs:
        verdict = judged.verdict
        reasons = "\n".join(f"{reason.state}: {to_safe_line(str(reason), 300)}" for reason in verdict.reasons)
        decision = to_safe_line(str(judged.decision)) if judged.decision else ""
        rows.add_row(format_instant(to_micros(verdict.as_of)), verdict.name, verdict.state, decision, reasons)
    return rows


def format_delivery(delivery: Delivery) -> Iterator[str]:
    """Yield the lines that sum up a delivery, and the messages that need a person's attention."""
    if delivery.busy:
        yield "Enough other processes are delivering: they send what is due, this one sent nothing."
    elif not (delivery.sent or delivery.refused or delivery.doubtful):
        yield "No message was due: nothing was sent."
    else:
        yield f"Sent {delivery.sent:,}, refused {delivery.refused:,}."
    if delivery.doubtful:
        yield f"In doubt {delivery.doubtful:,}: the answer was lost. Each is sent once more, with the same Message-ID."
    yield (f"In the outbox: {delivery.waiting:,} waiting, {len(delivery.needs_attention):,} need attention.")
    for message in delivery.needs_attention:
        about = f"account {to_safe_line(message.account_id)}" if message.account_id else f"run {message.run}"
        yield f"  {message.state}: {message.id}, {about}: {message.reason}"
        yield f"    {to_safe_line(message.subject)}"
        advice = _ADVICE[message.state]
        if message.doubts:
            advice = f"it may have arrived: ask, then `deliver --arrived {{id}}` or {advice}"
        yield f"    {advice.format(id=message.id)}"


def _show_name(name: str | None) -> str:
    return to_safe_line(name, 40) if name else ""
