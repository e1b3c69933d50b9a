"""Messages put straight into the outbox, for tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from features.state.database import Store
from features.state.tables import EPISODES, OUTBOX


def write_messages(store: Store, accounts: Iterable[str], **columns: Any) -> list[str]:
    """Write an open episode of each account, and a pending message about it to its owner; return the messages' ids.

    Args:
        store: The state database.
        accounts: Their ids, the most at stake first.
        columns: Of all the messages, in place of the usual ones.
    """
    names = list(accounts)
    episode = {"kind": "churn", "state": "open", "version": 1, "opened_as_of": 1, "last_as_of": 1}
    usual = {"kind": "opened", "state": "pending", "attempts": 0, "created_at": 1_700_000_000_000_000, "next_try_at": 0}
    messages = [
        {
            "id": f"m-{name}",
            "episode_id": f"e-{name}",
            "recipient": f"{name.lower()}@owners.test",
            "subject": f"At risk: {name}",
            "body": f"{name} is at risk.\n",
            "position": position,
            **usual,
            **columns,
        }
        for position, name in enumerate(names)
    ]
    with store.writing() as connection:
        connection.execute(
            sa.insert(EPISODES), [{"id": f"e-{n}", "account_id": n, "message_id": f"m-{n}", **episode} for n in names]
        )
        connection.execute(sa.insert(OUTBOX), messages)
    return [message["id"] for message in messages]
