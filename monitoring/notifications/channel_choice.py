"""Choose the channel of each new message, and write a copy of it for each other channel that is to have it as well."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import EPISODES, OUTBOX
from monitoring.notifications.channels import ChannelPlan

EXPIRED = "expired"
UNDELIVERED = "undelivered"  # the kind of a message about a dead letter
_SPACE = uuid.UUID("8d0f51f0-5f29-5b0b-9a0c-1b5d3f6a7c20")
_CHUNK = 500
# What a copy has in common with its original. It belongs to no episode of its own: the original does.
_SHARED = ("run", "kind", "recipient", "subject", "body", "position", "created_at", "deliver_after", "expires_at")


def choose_channels(store: Store, plans: Mapping[str, ChannelPlan], now: int) -> None:
    """Give each pending message that has none a channel, in one transaction with its copies; end what is out of date.

    A message is given its channel once, so its copies are written once.

    Args:
        store: The state database.
        plans: The channels that the settings name, the default one first.
        now: The instant (µs).
    """
    is_new = (OUTBOX.c.state == PENDING) & (OUTBOX.c.channel.is_(None) | OUTBOX.c.channel.not_in(list(plans)))
    is_old = (OUTBOX.c.state == PENDING) & (OUTBOX.c.expires_at <= now)
    # The original has told it: by another channel the copy would tell it twice.
    is_lone_copy = is_new & OUTBOX.c.channel.is_not(None) & OUTBOX.c.copy_of.is_not(None)
    is_lone_copy &= OUTBOX.c.kind != UNDELIVERED
    with store.reading() as connection:  # most deliveries find nothing new, and need no lock
        if connection.scalar(sa.select(OUTBOX.c.id).where(is_new | is_old).limit(1)) is None:
            return
    why = "it was not sent before it was out of date"
    columns = (OUTBOX.c[name] for name in ("id", "channel", "copy_of", *_SHARED))
    query = sa.select(*columns, EPISODES.c.kind.label("episode_kind"))
    query = query.outerjoin(EPISODES, EPISODES.c.id == OUTBOX.c.episode_id).where(is_new)
    with store.writing() as connection:
        connection.execute(sa.update(OUTBOX).where(is_old).values(state=EXPIRED, reason=why))
        gone = {"state": EXPIRED, "reason": "its channel is no longer set"}
        connection.execute(sa.update(OUTBOX).where(is_lone_copy).values(**gone))
        rows = connection.execute(query.with_for_update(skip_locked=True, of=OUTBOX)).mappings().all()
        chosen, copies = defaultdict[str, list[str]](list), []
        for row in rows:
            first, others = _choose(row, plans)
            chosen[first].append(row["id"])
            copies += [_build_copy(row, name) for name in others]
        for name, ids in chosen.items():
            for chunk in _cut(ids):
                connection.execute(sa.update(OUTBOX).where(OUTBOX.c.id.in_(chunk)).values(channel=name))
        if copies:
            connection.execute(sa.insert(OUTBOX), copies)


def _choose(row: sa.RowMapping, plans: Mapping[str, ChannelPlan]) -> tuple[str, list[str]]:
    """Return a message's channel, and those that get a copy of it."""
    default = next(iter(plans))
    if row["channel"] is not None or row["copy_of"] is not None:  # of a channel that is no longer set, or told already
        return default, []
    wanting = [plan for plan in plans.values() if plan.web is not None and _is_wanted(plan, row)]
    first = next((plan.name for plan in wanting if plan.web and plan.web.instead), default)
    return first, [plan.name for plan in wanting if plan.name != first]


def _is_wanted(plan: ChannelPlan, row: sa.RowMapping) -> bool:
    if plan.web is None:
        return False
    kinds, recipients = plan.web.kinds, {r.lower() for r in plan.web.recipients}
    is_of_kind = not kinds or bool({row["kind"], row["episode_kind"]} & set(kinds))
    return is_of_kind and (not recipients or str(row["recipient"]).lower() in recipients)


def _build_copy(row: sa.RowMapping, channel: str) -> dict[str, Any]:
    shared = {name: row[name] for name in _SHARED}
    again = {"id": str(uuid.uuid5(_SPACE, f"{row['id']} {channel}")), "copy_of": row["id"], "channel": channel}
    return shared | again | {"state": PENDING, "attempts": 0, "doubts": 0, "next_try_at": 0}


def _cut(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
