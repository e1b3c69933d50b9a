"""Define the tables of the library of problems: problems, their fixes, their tickets, and the words to find them by.

Instants are whole microseconds since 1970, UTC. The words of single tickets are in a full-text table of the database's
own kind, which `monitoring.problems.ticket_words` makes when it is first needed.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import METADATA

PROBLEMS = sa.Table(
    "problems",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("names", sa.JSON, nullable=False),  # by language: en, zh_Hans
    sa.Column("cause", sa.Text),  # what people found to be behind it
    sa.Column("owner", sa.String),  # address of who answers for it
    sa.Column("team", sa.String),  # address of the team whose part the cause is
    sa.Column("state", sa.String, nullable=False),  # new, known, workaround, fixed
    sa.Column("topic_id", sa.String),  # the topic that it was made from; null where a person made it
    sa.Column("merged_into", sa.String),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("made_by", sa.String, nullable=False),  # topics, or the person
    sa.Column("fixed_at", sa.BigInteger),  # since when its cause should be gone
    sa.Column("reopened_at", sa.BigInteger),  # its rate did not fall, or it came back
    sa.Column("effect", sa.JSON(none_as_null=True)),  # of its fix, as the last update measured it
    # Counted anew by each update: of its tickets.
    sa.Column("first_seen", sa.BigInteger),
    sa.Column("last_seen", sa.BigInteger),
    sa.Column("tickets", sa.Integer, nullable=False, server_default="0"),
    sa.Column("accounts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("repeats", sa.Integer, nullable=False, server_default="0"),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),  # grows by each act
)

PROBLEM_FIXES = sa.Table(
    "problem_fixes",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("problem_id", sa.String, sa.ForeignKey("problems.id"), nullable=False),
    sa.Column("texts", sa.JSON, nullable=False),  # by language: en, zh_Hans
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    # Counted anew by each update: of the tickets resolved with it, without a return or with one.
    sa.Column("worked", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
    sa.Index("problem_fixes_problem", "problem_id", "since"),
)

# The tickets known to the library, and the problem of each; null for none so far.
PROBLEM_TICKETS = sa.Table(
    "problem_tickets",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # in the order of arrival here
    sa.Column("ticket_id", sa.String, nullable=False, unique=True),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("resolved_at", sa.BigInteger),
    sa.Column("reopened", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("subject", sa.String, nullable=False, server_default=""),  # redacted, as it came into the tables
    sa.Column("problem_id", sa.String),
    sa.Column("linked_by", sa.String),  # topics, or the person
    sa.Column("fix_id", sa.String),  # that a person says was used on it
    sa.Column("digest", sa.String, nullable=False),  # of its text: another one is read anew
    sa.Index("problem_tickets_problem", "problem_id", "opened_at"),
    sa.Index("problem_tickets_account", "account_id", "opened_at"),
    sa.Index("problem_tickets_opened", "opened_at"),
)

# Compared byte by byte on any database, so that all tokens with one beginning are one range.
_TOKEN = sa.String().with_variant(sa.String(collation="C"), "postgresql")

# In how many tickets each token is: of all, and of each problem ("" for all).
PROBLEM_TOKENS = sa.Table(
    "problem_tokens",
    METADATA,
    sa.Column("token", _TOKEN, primary_key=True),
    sa.Column("problem_id", sa.String, primary_key=True),
    sa.Column("tickets", sa.Integer, nullable=False),
    sa.Index("problem_tokens_problem", "problem_id"),
)

# What happened to a problem; rows are only added.
PROBLEM_EVENTS = sa.Table(
    "problem_events",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("problem_id", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("event", sa.String, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Index("problem_events_problem", "problem_id", "at"),
)
