"""Read what the lifetime files of all accounts share at one run, which takes seconds where accounts are many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from features.settings import Settings
from features.sources.history import History
from monitoring.lifetime.account_lookup import AccountLookup
from monitoring.lifetime.like_accounts import LikeAccountFinder
from monitoring.lifetime.like_use import LikeAccountUse
from monitoring.lifetime.newest_scores import NewestScores
from serving.scoring import score_table, snapshot_store
from serving.scoring.snapshot_store import StoredSnapshot


@dataclass(frozen=True)
class CompanyRun:
    """One run's scores, and the tables that they were made from; several threads may read at once.

    Args:
        history: The tables; before anything was scored, as they are.
        lookup: Of all accounts.
        scores: Of the run.
        like: What the accounts use and buy that are most like one.
    """

    history: History
    lookup: AccountLookup
    scores: NewestScores
    like: LikeAccountUse

    @classmethod
    def read(cls, settings: Settings, file: Path | None) -> Self:
        """Read the run of a score table; None before the first.

        Raises:
            GarrisonError: The tables, the scores or the snapshot can't be read.
        """
        history = _open_history(settings, file)
        with history.open_cursor() as cursor:
            # One account's rows are few: sharing them out among threads costs more than it saves.
            cursor.execute("SET threads = 1")
            lookup = AccountLookup.read(cursor)
        finder = None if file is None else LikeAccountFinder.read(settings, file)
        return cls(history, lookup, NewestScores.read(file), LikeAccountUse(finder))


def _open_history(settings: Settings, file: Path | None) -> History:
    if file is not None:
        snapshot_file = snapshot_store.find_stored(settings, score_table.parse_instant(file))
        if snapshot_file:
            key = StoredSnapshot.read(snapshot_file, ()).history
            history = History.reopen(settings, key) if key else None
            if history is not None:
                return history
    return History.open(settings)
