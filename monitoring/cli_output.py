"""What alerting and delivering did, in words for the terminal and as plain data for machines; no addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import to_micros
from features.state.database import Store
from features.state.tables import EPISODES, OUTBOX
from monitoring.alerts.lifecycle import Outcome
from monitoring.alerts.message import safe
from monitoring.alerts.queries import day
from monitoring.alerts.routing import PENDING, UNDELIVERABLE, WITHHELD
from monitoring.notifications.outbox import FAILED, UNCERTAIN, Delivery

# Accounts listed by name in the terminal; machines get all.
_SHOWN = 20

_ADVICE = {
    UNCERTAIN: "it may have arrived: ask, then `deliver --arrived {id}` or `deliver --resend {id}`",
    FAILED: "`deliver --resend {id}`, if need be `--to ADDRESS`",
    UNDELIVERABLE: "`deliver --resend {id} --to ADDRESS`",
}


def of_alerts(outcome: Outcome, *, dry_run: bool) -> Iterator[str]:
    """Lines that say what a run of the alerts did."""
    when = day(to_micros(outcome.as_of))
    if not outcome.fresh:
        yield f"Alerts as of {when} have been raised already: nothing to do."
        return
    limits = outcome.thresholds
    yield (
        f"{'Dry run: nothing is written. ' if dry_run else ''}As of {when}, {outcome.considered:,} accounts in the "
        f"cohort, risk within {outcome.days} days by {limits.model}: "
        f"enters at {limits.enter:.3f}, ends below {limits.leave:.3f}."
    )
    ended = Counter(c.outcome for c in outcome.closed)
    ends = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(ended.items()))
    yield (
        f"Episodes: {len(outcome.opened):,} opened, {len(outcome.continued):,} continue, "
        f"{len(outcome.closed):,} closed{f' ({ends})' if ends else ''}."
    )
    states = Counter(o.route.state for o in outcome.opened)
    yield (
        f"Messages: {states[PENDING]:,} to owners, {states[WITHHELD]:,} withheld, "
        f"{states[UNDELIVERABLE]:,} without a recipient."
    )
    for reason, count in Counter(o.route.reason for o in outcome.opened if o.route.reason).most_common():
        yield f"  {count:,} not sent: {reason}"
    for opened in outcome.opened[:_SHOWN]:
        value = "" if opened.score.value is None else f", {opened.score.value:,.0f} at stake"
        yield f"  {safe(opened.score.account_id)}: {opened.score.score:.3f}{value} ({opened.route.state})"
    if len(outcome.opened) > _SHOWN:
        yield f"  … and {len(outcome.opened) - _SHOWN:,} more"


def alerts_data(outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    """The same, all of it, for JSON."""
    return {
        "as_of": outcome.as_of.isoformat(),
        "horizon": outcome.horizon,
        "lead_days": outcome.lead,
        **asdict(outcome.thresholds),
        "considered": outcome.considered,
        "opened": [
            {
                "episode": o.episode,
                "account_id": o.score.account_id,
                "score": o.score.score,
                "value": o.score.value,
                "message": o.route.state,
                "reason": o.route.reason,
            }
            for o in outcome.opened
        ],
        "continued": len(outcome.continued),
        "closed": [
            {"episode": c.episode.id, "account_id": c.episode.account_id, "outcome": c.outcome, "score": c.score}
            for c in outcome.closed
        ],
        "fresh": outcome.fresh,
        "dry_run": dry_run,
    }


def of_delivery(delivery: Delivery) -> Iterator[str]:
    """Lines that say what a delivery did, and what waits for a person."""
    if delivery.busy:
        yield "Another process is delivering: it sends what is due."
    yield (
        f"Sent {delivery.sent:,}, refused {delivery.refused:,}; waiting {delivery.waiting:,}, "
        f"withheld over an owner's cap {delivery.withheld:,}, stuck {len(delivery.stuck):,}."
    )
    for stuck in delivery.stuck:
        yield f"  {stuck.state}: {stuck.id}, account {safe(stuck.account_id)}: {stuck.reason}"
        yield f"    {_ADVICE[stuck.state].format(id=stuck.id)}"


def episodes(store: Store, *, closed: bool) -> list[dict[str, Any]]:
    """Episodes with the state of their message, newest first; the closed ones too where asked."""
    query = (
        sa.select(EPISODES, OUTBOX.c.state.label("message"), OUTBOX.c.id.label("message_id"))
        .outerjoin(OUTBOX, OUTBOX.c.episode_id == EPISODES.c.id)
        .order_by(EPISODES.c.opened_as_of.desc(), OUTBOX.c.position)
    )
    if not closed:
        query = query.where(EPISODES.c.closed_as_of.is_(None))
    with store.reading() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        row |= {c: None if row[c] is None else day(row[c]) for c in ("opened_as_of", "last_as_of", "closed_as_of")}
    return rows


def of_episodes(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One line for each episode."""
    yield f"{len(rows):,} episodes"
    for row in rows:
        now = "" if row["last_score"] is None else f", now {row['last_score']:.3f}"
        end = f"{row['outcome']} {row['closed_as_of']}" if row["outcome"] else "open"
        yield (
            f"  {row['opened_as_of']}  {safe(row['account_id'])}: {row['opened_score']:.3f}{now}, "
            f"peak {row['peak_score']:.3f}, {end}, message {row['message']}"
        )
