"""Put the lifetime file of one account together."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.catalog import Catalog
from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.joined_store import join_reads
from features.state.tables import EPISODES
from monitoring.lifetime.account_tables import CompanyTables
from monitoring.lifetime.champions import Champions
from monitoring.lifetime.entry import KINDS
from monitoring.lifetime.head import AccountHead, read_head
from monitoring.lifetime.needs import Needs, find_needs
from monitoring.lifetime.notes import read_notes
from monitoring.lifetime.open_episodes import OpenEpisode, read_open_episodes
from monitoring.lifetime.people import People, read_people
from monitoring.lifetime.promises import Promise, read_promises
from monitoring.lifetime.risk_course import RiskCourse, read_course
from monitoring.lifetime.timeline import TimelinePage, read_timeline

# Entries of a page, and of an export: more than any account has.
_PAGE, _ALL = 20, 10_000_000


@dataclass(frozen=True)
class AccountFile:
    """Everything that is known of one account.

    Args:
        head: What it is.
        course: Of its risk.
        needs: Stated, individual and hidden.
        promises: To it; those not kept first.
        people: At it; None where the usage names nobody.
        episodes: Those open on it.
        timeline: A page of it.
        now: When it was put together.
        catalog: Of the features that the causes are of.
    """

    head: AccountHead
    course: RiskCourse
    needs: Needs
    promises: tuple[Promise, ...]
    people: People | None
    episodes: tuple[OpenEpisode, ...]
    timeline: TimelinePage
    now: datetime
    catalog: Catalog

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "head": self.head.as_dict(),
            "risk": self.course.as_dict(self.catalog),
            "episodes": [episode.as_dict() for episode in self.episodes],
            "needs": self.needs.as_dict(),
            "promises": [promise.as_dict(self.now) for promise in self.promises],
            "people": self.people and self.people.as_dict(),
            "timeline": self.timeline.as_dict(),
            "at": self.now.isoformat(),
        }


class AccountFiles:
    """Reads the lifetime files of a company's accounts; several threads may read at once.

    Args:
        settings: The company's.
        store: Its state database.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings, self.store = settings, store
        self.tables, self.champions = CompanyTables(settings, store), Champions(settings)

    def read(
        self,
        account_id: str,
        *,
        kinds: Collection[str] = KINDS,
        after: str | None = None,
        limit: int = _PAGE,
        now: datetime | None = None,
    ) -> AccountFile:
        """Read the file of an account.

        Args:
            account_id: Of the account.
            kinds: Of the timeline's entries.
            after: `TimelinePage.after` of the page before; None for the first.
            limit: Entries of the timeline.
            now: The instant; by default the clock's.

        Raises:
            GarrisonError: There is no such account, kind or page, or the tables can't be read.
        """
        moment, horizon = now or datetime.now(UTC), self.settings.alert_horizon
        with self.tables.open_account(account_id) as tables, join_reads(self.store) as store:
            notes, promises = read_notes(store, account_id), read_promises(tables, store)
            said: dict[str, Any] = {"horizon": horizon, "notes": notes, "promises": promises}
            timeline = read_timeline(tables, store, kinds=kinds, after=after, limit=limit, **said)
            head = read_head(self.settings, store, tables, now=moment)
            at = to_micros(head.as_of)
            return AccountFile(
                head,
                read_course(store, self.champions.load(), account_id, horizon=horizon),
                find_needs(tables, notes, tables.run.like.measure(tables, at), at),
                tuple(promises),
                read_people(tables, at),
                read_open_episodes(store, account_id),
                timeline,
                moment,
                tables.run.history.catalog,
            )

    def warm(self) -> None:
        """Read one file, and with it what all share, which takes seconds where accounts are many.

        What can't be read is said to who asks for it.
        """
        with contextlib.suppress(GarrisonError):
            first = self.tables.history.query("SELECT min(account_id) AS account_id FROM accounts")["account_id"].iloc[
                0
            ]
            self.read(str(first))

    def close(self) -> None:
        """Close the tables."""
        self.tables.close()

    def has_episode(self, account_id: str, episode_id: str) -> bool:
        """Return whether an episode, open or closed, is of an account."""
        own = sa.select(EPISODES.c.id).where(EPISODES.c.id == episode_id, EPISODES.c.account_id == account_id)
        with self.store.reading() as connection:
            return connection.scalar(own) is not None

    def export(self, account_id: str, *, now: datetime | None = None) -> dict[str, Any]:
        """Read the whole file of an account, with its whole timeline, as plain data for JSON."""
        return self.read(account_id, limit=_ALL, now=now).as_dict()
