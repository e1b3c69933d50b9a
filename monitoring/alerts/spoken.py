"""Read how often owners were told lately, so that no account and no owner hears from us all the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import sqlalchemy as sa

from features.core.timestamps import DAY
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.alerts import kinds

_SPEAKING = (kinds.OPENED, kinds.WORSENED, kinds.HANDED_OVER, kinds.WOKEN)


@dataclass(frozen=True)
class Spoken:
    """What went before a run.

    Args:
        accounts: How often each account was spoken of in the last week.
        recipients: How often each owner was told in the last day, by address in lower case.
    """

    accounts: Mapping[str, int] = field(default_factory=dict)
    recipients: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: sa.Connection, at: int) -> Self:
        """Read what went before an instant (µs), by the `as_of` of the runs that spoke."""
        e, v = EPISODES.c, EPISODE_EVENTS.c
        query = sa.select(e.account_id, e.owner, v.as_of).join(EPISODES, e.id == v.episode_id)
        accounts, owners = Counter[str](), Counter[str]()
        lately = (v.event.in_(_SPEAKING), v.as_of < at, v.as_of > at - 7 * DAY)
        for account, owner, as_of in connection.execute(query.where(*lately)):
            accounts[account] += 1
            if as_of > at - DAY:
                owners[str(owner).lower()] += 1
        return cls(accounts, owners)
