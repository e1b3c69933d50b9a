"""Read the open episodes of one account."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import from_micros
from features.state.database import Store
from features.state.tables import EPISODES


@dataclass(frozen=True)
class OpenEpisode:
    """An episode that is open.

    Args:
        id: Of the episode.
        kind: Of the episode, such as churn.
        state: open, notified, acknowledged or snoozed.
        opened_as_of: µs.
        owner: Address of who has it; None for nobody.
        cause: What the risk comes from; None where none stands out.
        play: Key of the next step; None without one.
        expected: Money that acting is expected to save, less its cost.
        acknowledged_by: Who is at it.
        snoozed_until: µs.
        version: What an act must name.
    """

    id: str
    kind: str
    state: str
    opened_as_of: int
    owner: str | None
    cause: str | None
    play: str | None
    expected: float | None
    acknowledged_by: str | None
    snoozed_until: int | None
    version: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        until = None if self.snoozed_until is None else from_micros(self.snoozed_until).isoformat()
        return asdict(self) | {"opened_as_of": from_micros(self.opened_as_of).isoformat(), "snoozed_until": until}


_QUERY = sa.select(*(EPISODES.c[name] for name in OpenEpisode.__dataclass_fields__)).where(
    EPISODES.c.account_id == sa.bindparam("account"), EPISODES.c.closed_as_of.is_(None)
)


def read_open_episodes(store: Store, account_id: str) -> tuple[OpenEpisode, ...]:
    """Read an account's open episodes, the one with the most expected first."""
    with store.reading() as connection:
        rows = [OpenEpisode(*row) for row in connection.execute(_QUERY, {"account": account_id})]
    return tuple(sorted(rows, key=lambda row: (-(row.expected or 0.0), row.id)))
