"""What must hold of the outbox at every instant, and of what arrived in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import sqlalchemy as sa

from features.state.database import Store
from features.state.tables import OUTBOX

STATES = {"pending", "sending", "sent", "failed", "bounced", "expired", "withheld", "undeliverable"}


def find_illegal(store: Store) -> list[str]:
    """Return a sentence for each message whose columns contradict each other."""
    with store.reading() as connection:
        rows = connection.execute(sa.select(OUTBOX)).mappings().all()
    found = []
    for row in rows:
        is_claimed = row["claimed_by"] is not None and row["claimed_until"] is not None
        laws = {
            "its state is unknown": row["state"] in STATES,
            "it is claimed and not being sent, or the reverse": is_claimed == (row["state"] == "sending"),
            "it has a phase and is not being sent": row["phase"] is None or row["state"] == "sending",
            "it was sent at no time": (row["sent_at"] is not None) == (row["state"] in {"sent", "bounced"}),
            "it has a channel too late": row["channel"] is not None or row["state"] not in {"sending", "sent"},
            "it failed without a reason": row["state"] != "failed" or bool(row["reason"]),
        }
        found += [f"{row['id']}: {law}" for law, holds in laws.items() if not holds]
    return found


def compare_with_arrived(store: Store, arrived: Mapping[str, int]) -> Counter[str]:
    """Count the messages that are lost, shown twice, and shown twice although their answer was never in doubt.

    A message is lost if it did not arrive and no person is told of it.
    """
    columns = (OUTBOX.c.id, OUTBOX.c.state, OUTBOX.c.doubts)
    with store.reading() as connection:
        rows = connection.execute(sa.select(*columns)).all()
    counts = Counter({"messages": len(rows), "in_doubt": sum(row.doubts for row in rows)})
    for row in rows:
        times = arrived.get(row.id, 0)
        counts["arrived"] += times > 0
        counts["dead_letters"] += row.state == "failed"
        counts["lost"] += times == 0 and row.state != "failed"
        counts["shown_twice"] += max(0, times - 1)
        counts["shown_twice_without_doubt"] += times > 1 + row.doubts
    return counts
