"""Hold all open episodes in memory: which accounts have one, how many a reader sees, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from features.state.tables import EPISODES
from monitoring.alerts.kinds import KINDS, SNOOZED
from monitoring.console.accounts.account_ids import AccountIds

if TYPE_CHECKING:
    from features.settings import Settings
    from features.state.database import Store
    from monitoring.console.accounts.account_snapshot import AccountSnapshot, Mask

_COLUMNS = ("id", "account_id", "kind", "state", "owner", "cause", "play", "expected")
_VERSIONS = sa.func.aggregate_strings(EPISODES.c.id + " " + sa.cast(EPISODES.c.version, sa.String), " ")
# Minutes that an episode takes where its kind is not known.
_MINUTES = 30


@dataclass(frozen=True)
class OpenEpisodeMark:
    """What a list says of an account's open episode.

    Args:
        id: Of the episode.
        kind: Such as churn.
        state: Such as notified.
        play: What to do; None where nothing is proposed.
    """

    id: str
    kind: str
    state: str
    play: str | None


@dataclass(frozen=True)
class OpenEpisodes:
    """All open episodes, the most an hour of work avoids first.

    Args:
        rows: Values of `_COLUMNS`, in that order.
        rates: (n,) money an hour; 0 where nothing is expected.
        is_resting: (n,) bool.
        owners: (n,) addresses in lower case; "" for nobody.
        versions: The id and version of each in one text: an episode that changes gets another version.
    """

    rows: Sequence[tuple[Any, ...]]
    rates: npt.NDArray[np.float64]
    is_resting: npt.NDArray[np.bool_]
    owners: npt.NDArray[np.object_]
    versions: str

    @classmethod
    def read(cls, settings: Settings, store: Store, before: Self | None = None) -> Self:
        """Read them, or return those that were read before where none has changed since."""
        is_open = EPISODES.c.closed_as_of.is_(None)
        with store.reading() as connection:
            versions = connection.scalar(sa.select(_VERSIONS).where(is_open)) or ""
            if before is not None and versions == before.versions:
                return before
            rows = connection.execute(sa.select(*(EPISODES.c[name] for name in _COLUMNS)).where(is_open)).all()
        hours = {kind: settings.capacity.get_minutes(kind) / 60 for kind in KINDS}
        worth = [(-(row[7] or 0.0) / hours.get(row[2], _MINUTES / 60), row[0], row) for row in rows]
        worth.sort(key=itemgetter(0, 1))
        rows = [row for *_, row in worth]
        return cls(
            rows,
            np.array([-rate for rate, *_ in worth], np.float64),
            np.array([row[3] == SNOOZED for row in rows], np.bool_),
            np.array([(row[4] or "").lower() for row in rows], object),
            versions,
        )

    @cached_property
    def accounts(self) -> AccountIds:
        """Return the account of each."""
        return AccountIds(row[1] for row in self.rows)

    @cached_property
    def needing(self) -> AccountIds:
        """Return the accounts with an episode that does not rest, by id."""
        return AccountIds(sorted({row[1] for row, rests in zip(self.rows, self.is_resting, strict=True) if not rests}))

    def select(
        self, snapshot: AccountSnapshot, visible: Mask | None, *, owner: str | None = None, teams: Sequence[str] = ()
    ) -> npt.NDArray[np.bool_]:
        """Return which of them a reader sees; shape (n,).

        Args:
            snapshot: Of the accounts.
            visible: Accounts that the reader sees; None for all that there are.
            owner: Only those of this person, in lower case, or whose cause is one of `teams`; None for all.
            teams: Causes that are the person's team's.
        """
        places = snapshot.find_places(self.accounts)
        seen: npt.NDArray[np.bool_] = places >= 0
        if visible is not None and len(visible):
            seen &= visible[places]
        if owner is not None:
            seen &= (self.owners == owner) | self._has_cause(teams)
        return seen

    def find_first(
        self, seen: npt.NDArray[np.bool_], after: tuple[float, str] | None, limit: int
    ) -> list[tuple[float, str]]:
        """Return the rate and id of the first that are seen, after a key of that form."""
        found: list[tuple[float, str]] = []
        for place in np.flatnonzero(seen).tolist():
            rate, episode = float(self.rates[place]), self.rows[place][0]
            if after is None or (-rate, episode) > (-after[0], after[1]):
                found.append((rate, episode))
                if len(found) == limit:
                    break
        return found

    def list_bound(self, owner: str, teams: Sequence[str]) -> list[str]:
        """List the accounts of those that a person owns, or whose cause is one of `teams`, by id."""
        chosen = np.flatnonzero((self.owners == owner) | self._has_cause(teams))
        return sorted({self.accounts[n] for n in chosen.tolist()})

    def find_by_account(self, accounts: Sequence[str]) -> dict[str, OpenEpisodeMark]:
        """Find, for each of some accounts, its open episode that the most is expected of."""
        return {account: self._mark(self._first[account]) for account in accounts if account in self._first}

    def _mark(self, place: int) -> OpenEpisodeMark:
        row = self.rows[place]
        return OpenEpisodeMark(row[0], row[2], row[3], row[6])

    def _has_cause(self, causes: Sequence[str]) -> npt.NDArray[np.bool_]:
        return np.isin(self._causes, list(causes)) if causes else np.zeros(len(self.rows), np.bool_)

    @cached_property
    def _causes(self) -> npt.NDArray[np.str_]:
        return np.array([row[5] or "" for row in self.rows], dtype=str)

    @cached_property
    def _first(self) -> dict[str, int]:
        """Return the place of the episode that the most is expected of, by account."""
        least = float("-inf")
        worth = [(least if row[7] is None else row[7], row[0]) for row in self.rows]
        first: dict[str, int] = {}
        for place, account in enumerate(self.accounts):
            if account not in first or worth[place] > worth[first[account]]:
                first[account] = place
        return first


class OpenEpisodesReader:
    """Reads the open episodes, anew only when one of them has changed; several threads may ask at once.

    Reading takes some 100 ms for 20,000, and looking whether any has changed a tenth of it: most writes to the state
    database are of something else.

    Args:
        settings: The company's.
        store: Its state database.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._last: OpenEpisodes | None = None

    def read(self) -> OpenEpisodes:
        """Read all open episodes."""
        self._last = last = OpenEpisodes.read(self._settings, self._store, self._last)
        return last
