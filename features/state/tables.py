"""Define all tables of the state database. A change here needs a new revision in `features/state/migrations`.

Instants are whole microseconds since 1970, UTC.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()

SCORES = sa.Table(
    "scores",
    METADATA,
    sa.Column("account_id", sa.String, primary_key=True),
    sa.Column("as_of", sa.BigInteger, primary_key=True),
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("horizon", sa.Integer, primary_key=True),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("catalog", sa.String, nullable=False),
    sa.Column("sources", sa.String, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("in_cohort", sa.Boolean),
    sa.Column("drivers", sa.JSON, nullable=False),
    sa.Column("scored_at", sa.BigInteger, nullable=False),
    sa.Index("scores_as_of", "as_of"),
)

API_KEYS = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("key_id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
    sa.Column("scope", sa.String, nullable=False, server_default="score"),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
)

EVENT_LOG = sa.Table(
    "events",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("event_id", sa.String, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("known_at", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.UniqueConstraint("source", "event_id", "revision", name="events_revision"),
    sa.Index("events_account", "account_id", "seq"),
)

SERVED = sa.Table(
    "served",
    METADATA,
    sa.Column("served_id", sa.String, primary_key=True),
    sa.Column("served_at", sa.BigInteger, nullable=False),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("as_of", sa.BigInteger, nullable=False),
    sa.Column("catalog", sa.String, nullable=False),
    sa.Column("history", sa.String),
    sa.Column("position", sa.BigInteger),
    sa.Column("posted", sa.Text),
    sa.Column("told", sa.Text, nullable=False),
    sa.Column("checked_at", sa.BigInteger),
    sa.Column("fate", sa.String),
    sa.Index("served_unchecked", "checked_at", "served_at"),
)

PARITY_RUNS = sa.Table(
    "parity_runs",
    METADATA,
    sa.Column("run_at", sa.BigInteger, primary_key=True),
    sa.Column("checked", sa.Integer, nullable=False),
    sa.Column("mismatches", sa.Integer, nullable=False),
)


def _as_sent() -> list[sa.Column[Any]]:
    return [
        sa.Column("destination", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, primary_key=True),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("sent", sa.JSON, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    ]


DELIVERIES = sa.Table("deliveries", METADATA, *_as_sent())
DELIVERY_JOBS = sa.Table("delivery_jobs", METADATA, *_as_sent(), sa.Column("job", sa.String, nullable=False))

DELIVERY_QUARANTINE = sa.Table(
    "delivery_quarantine",
    METADATA,
    sa.Column("destination", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, primary_key=True),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)

DELIVERY_RUNS = sa.Table(
    "delivery_runs",
    METADATA,
    sa.Column("destination", sa.String, primary_key=True),
    sa.Column("began_at", sa.BigInteger, primary_key=True),
    sa.Column("ended_at", sa.BigInteger, nullable=False),
    sa.Column("sent", sa.Integer, nullable=False),
    sa.Column("unchanged", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("quarantined", sa.Integer, nullable=False),
)

# One row for each as_of that alerts were raised at: what makes a second run of it a no-op.
ALERT_RUNS = sa.Table(
    "alert_runs",
    METADATA,
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("as_of", sa.BigInteger, primary_key=True),
    sa.Column("horizon", sa.Integer, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("enter", sa.Double, nullable=False),
    sa.Column("leave", sa.Double, nullable=False),
    sa.Column("run_at", sa.BigInteger, nullable=False),
)

# One row for each spell on one account; `episode_events` holds every change of it.
EPISODES = sa.Table(
    "episodes",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, nullable=False),
    # churn, silent_decline, service_failure, renewal_near, upsell, promise_due, visit_due
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("horizon", sa.Integer),
    sa.Column("state", sa.String, nullable=False),  # open, notified, acknowledged, snoozed, closed
    sa.Column("opened_as_of", sa.BigInteger, nullable=False),
    sa.Column("opened_score", sa.Double),
    sa.Column("peak_score", sa.Double),
    sa.Column("last_as_of", sa.BigInteger, nullable=False),  # of the last run that saw the account
    sa.Column("last_score", sa.Double),
    sa.Column("spoken_score", sa.Double),  # that the owner was last told
    sa.Column("value", sa.Double),
    sa.Column("expected", sa.Double),  # loss avoided by acting, or gain, less the contact's cost
    sa.Column("cause", sa.String),
    sa.Column("play", sa.String),
    sa.Column("model", sa.String),
    sa.Column("owner", sa.String),
    sa.Column("message_id", sa.String),  # of the outbox: what last told its owner
    sa.Column("acknowledged_at", sa.BigInteger),
    sa.Column("acknowledged_by", sa.String),
    sa.Column("snoozed_until", sa.BigInteger),
    sa.Column("closed_as_of", sa.BigInteger),  # of the run that closed it, or the instant of the act
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("outcome", sa.String),  # saved, left, recovered, false_alarm, expired, merged
    sa.Column("outcome_reason", sa.String),
    sa.Column("exited_as_of", sa.BigInteger),  # of the run that saw its condition end: before, none opens anew
    sa.Column("version", sa.Integer, nullable=False),  # the seq of its last event
    sa.UniqueConstraint("account_id", "kind", "opened_as_of", name="episodes_opened"),
)
# The database itself refuses an account's second open episode of a kind.
sa.Index(
    "episodes_open",
    EPISODES.c.account_id,
    EPISODES.c.kind,
    unique=True,
    sqlite_where=EPISODES.c.closed_as_of.is_(None),
    postgresql_where=EPISODES.c.closed_as_of.is_(None),
)

# What the inbox counts and orders, and whether any has changed, without a look at the rows.
_WAITING = ("state", "kind", "expected", "owner", "cause", "account_id", "id", "closed_as_of", "play", "version")
sa.Index(
    "episodes_waiting",
    *(EPISODES.c[name] for name in _WAITING),
    sqlite_where=EPISODES.c.closed_as_of.is_(None),
    postgresql_where=EPISODES.c.closed_as_of.is_(None),
)
sa.Index("episodes_closed", EPISODES.c.closed_at)

# Every change of an episode; rows are only added.
EPISODE_EVENTS = sa.Table(
    "episode_events",
    METADATA,
    sa.Column("episode_id", sa.String, sa.ForeignKey("episodes.id"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("as_of", sa.BigInteger),  # of the run that made it; null for a person's act
    sa.Column("event", sa.String, nullable=False),
    sa.Column("by", sa.String, nullable=False),  # run, deliver, or the person
    sa.Column("details", sa.JSON, nullable=False),
)

# What each run did with each candidate, and why: so that a run can be replayed exactly.
ALERT_CHOICES = sa.Table(
    "alert_choices",
    METADATA,
    sa.Column("as_of", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, primary_key=True),
    sa.Column("rank", sa.Integer, nullable=False),  # among all candidates of the run, 1 the most expected
    sa.Column("score", sa.Double),
    sa.Column("value", sa.Double),
    sa.Column("expected", sa.Double, nullable=False),
    sa.Column("threshold", sa.Double),  # least expected that its owner's capacity took; null without a limit
    sa.Column("capacity", sa.Double),  # minutes that its owner had left before this run; null without a limit
    sa.Column("owner", sa.String),
    sa.Column("play", sa.String),
    sa.Column("chosen", sa.Boolean, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
)

# Accounts that no alert is raised on for a while; one that is lifted ends at that instant.
MUTES = sa.Table(
    "mutes",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("kind", sa.String),  # null for all
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("mutes_account", "account_id"),
)

OUTBOX = sa.Table(
    "outbox",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),  # follows from what it is about: written twice, it is one message
    sa.Column("episode_id", sa.String, sa.ForeignKey("episodes.id")),  # null for messages about a run, and for copies
    sa.Column("run", sa.String),  # the held run that a message to the data team is about
    sa.Column("kind", sa.String, nullable=False),  # opened, held, undelivered, …
    sa.Column("recipient", sa.String),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("body", sa.String, nullable=False),
    # pending, sending, sent, failed, bounced, expired; or never to be sent by itself: withheld, undeliverable
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("channel", sa.String),  # null until the first delivery chooses it
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),  # among those of one run: the most at stake first
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("next_try_at", sa.BigInteger, nullable=False),
    sa.Column("sent_at", sa.BigInteger),
    # How often its answer was lost, so that it may have arrived more than once.
    sa.Column("doubts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("copy_of", sa.String),  # the message that this one repeats on another channel, or tells of
    sa.Column("html", sa.String),  # the same as the body, for mail programs that show it
    sa.Column("phase", sa.String),  # while it is being sent: announced, final
    sa.Column("claimed_by", sa.String),  # the process that is sending it,
    sa.Column("claimed_until", sa.BigInteger),  # and until when it is that process's alone
    sa.Column("deliver_after", sa.BigInteger),  # not before, such as the end of quiet hours
    sa.Column("expires_at", sa.BigInteger),  # from then on it is no news
    sa.Column("tried_at", sa.BigInteger),  # when it was last begun
    sa.Index("outbox_due", "state", "next_try_at"),
    sa.Index("outbox_tried", "tried_at"),
)

# The verdict on each scored run. A run that is judged again, say because its data aged, has its row replaced.
RUN_VERDICTS = sa.Table(
    "run_verdicts",
    METADATA,
    sa.Column("run", sa.String, primary_key=True),  # as in the score table
    sa.Column("as_of", sa.BigInteger, nullable=False),
    sa.Column("judged_at", sa.BigInteger, nullable=False),
    sa.Column("judged_until", sa.BigInteger, nullable=False),  # the instant at which the data should be up to date
    sa.Column("state", sa.String, nullable=False),  # ok, watch, hold
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("figures", sa.JSON, nullable=False),  # by score: its PSI against the last accepted run
    sa.Column("compared_with", sa.String),  # the last accepted run; null for the first
    sa.Column("models", sa.JSON, nullable=False),
    sa.Index("run_verdicts_as_of", "as_of"),
)

# What people decided about held runs; rows are only added. The newest row of an as_of counts.
RUN_DECISIONS = sa.Table(
    "run_decisions",
    METADATA,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("decided_at", sa.BigInteger, primary_key=True),
    sa.Column("decision", sa.String, nullable=False),  # released, discarded, delivered (although held)
    # The reasons that it was decided on, each as [kind, subject]: a release covers no reason that came later.
    sa.Column("covers", sa.JSON, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("decided_by", sa.String, nullable=False),
)

# What the night did: one row a step of each night, written before and after the step.
NIGHT_STEPS = sa.Table(
    "night_steps",
    METADATA,
    sa.Column("night", sa.BigInteger, primary_key=True),  # the as_of that it scores
    sa.Column("step", sa.String, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),  # running, done, failed, skipped
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("summary", sa.String),
    sa.Column("figures", sa.JSON),
)

# What tiers are cut by in a quarter: frozen by its first run.
TIER_CUTS = sa.Table(
    "tier_cuts",
    METADATA,
    sa.Column("quarter", sa.String, primary_key=True),  # such as 2026-Q1
    sa.Column("as_of", sa.BigInteger, nullable=False),
    sa.Column("cuts", sa.JSON, nullable=False),
    sa.Column("frozen_at", sa.BigInteger, nullable=False),
)

# Tiers that people set; rows are only added, and marked when they are withdrawn.
TIER_OVERRIDES = sa.Table(
    "tier_overrides",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("tier", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("until", sa.BigInteger),
    sa.Column("set_at", sa.BigInteger, nullable=False),
    sa.Column("withdrawn_at", sa.BigInteger),
)

# Who is away, or gone for good where there is no end, and who stands in.
ABSENCES = sa.Table(
    "absences",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("address", sa.String, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger),
    sa.Column("deputy", sa.String),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("noted_at", sa.BigInteger, nullable=False),
    sa.Column("withdrawn_at", sa.BigInteger),
    sa.Index("absences_address", "address"),
)

# The lots that decided who was alerted on, or by which play: of each family of accounts and purpose (lottery, holdout,
# plays:CAUSE) its first draw, which counts whatever came later. `arm` is the play drawn; `value` is in `currency`.
EXPERIMENT_DRAWS = sa.Table(
    "experiment_draws",
    METADATA,
    sa.Column("experiment", sa.String, primary_key=True),
    sa.Column("purpose", sa.String, primary_key=True),
    sa.Column("unit", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("as_of", sa.BigInteger, nullable=False),
    sa.Column("treated", sa.Boolean, nullable=False),
    sa.Column("arm", sa.String),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("value", sa.Double),
    sa.Column("currency", sa.String),
    sa.Column("tier", sa.String),
    sa.Column("owner", sa.String),
    sa.Column("drawn_at", sa.BigInteger, nullable=False),
)
