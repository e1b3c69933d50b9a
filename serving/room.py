"""What one server process holds: the company's settings, its keys, and the models and snapshot that answer."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from features import company
from features.errors import GarrisonError
from features.instants import instant
from features.settings import Settings
from serving import online, store
from serving.answers import Answers
from serving.auth import Keyring
from serving.schema import Reader
from serving.store import Store
from training import promotions

_log = logging.getLogger("bentoml.garrison")
# Seconds after which new keys, models and snapshots are looked for; so long may a revoked key still be served.
FRESH = 5.0
Seen = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Desk:
    """A room that can be asked."""

    reader: Reader
    answers: Answers
    store: Store

    def account(self, account_id: str) -> dict[str, Any]:
        """One account's scores, and those stored of it, newest first.

        Raises:
            Refusal: There is no such account.
        """
        now = self.answers.account(account_id)
        before = [
            {
                "as_of": instant(row["as_of"]),
                "target": row["target"],
                "horizon": row["horizon"],
                "score": row["score"],
                "model": row["model"],
            }
            for row in self.store.account_scores(account_id)
        ]
        return now.model_dump() | {"history": before}


@dataclass(frozen=True)
class Room:
    """A server process's state. It opens whatever is missing, and says what: a server must come up to tell.

    Args:
        config: The settings file.
        keyring: Who may ask; None where the state database can't be opened.
        desk: Answers; None where there is trouble.
        trouble: Why nothing can be scored, None where all is well.
        seen: What the models and the snapshot were read from.
        looked_at: When, by the monotonic clock.
    """

    config: str
    keyring: Keyring | None
    desk: Desk | None
    trouble: str | None
    seen: Seen
    looked_at: float

    @classmethod
    def open(cls, config: str) -> Self:
        """With what the settings in the file `config` point to."""
        keyring, now = None, time.monotonic()
        seen: Seen = ()
        try:
            settings = company.load(Path(config))
            seen = _seen(settings)
            opened = store.open(settings)
            keyring = Keyring(opened)
            desk = Desk(Reader(settings), Answers.load(settings), opened)
        except GarrisonError as error:
            _log.warning("nothing can be scored: %s", error)
            return cls(config, keyring, None, str(error), seen, now)
        return cls(config, keyring, desk, None, seen, now)

    @property
    def stale(self) -> bool:
        """Whether it is time to look for new keys, models and snapshots."""
        return time.monotonic() - self.looked_at > FRESH

    def renewed(self) -> Self:
        """This room with the keys, models and snapshot of now; what can't be read stays as it was. Takes a while."""
        now = time.monotonic()
        if self.desk is None or self.keyring is None:
            return type(self).open(self.config)
        settings = self.desk.answers.settings
        try:
            self.keyring.refresh()
            seen = _seen(settings)
            desk = self.desk if seen == self.seen else replace(self.desk, answers=Answers.load(settings))
        except GarrisonError as error:
            _log.warning("what was read before stays in force: %s", error)
            return replace(self, looked_at=now)
        if desk is not self.desk:
            _log.info("new models or a new snapshot are in force")
        return replace(self, desk=desk, seen=seen, looked_at=now)


def _seen(settings: Settings) -> Seen:
    """The files behind the answers, and when they were written: any change means new models or a new snapshot."""
    files = [promotions.file(settings), *sorted(online.folder(settings).glob("*.parquet"))[-1:]]
    return tuple((file.name, file.stat().st_mtime_ns) for file in files if file.exists())
