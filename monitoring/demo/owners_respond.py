"""Let the owners of a tidewater sample answer the letters that were sent, and let the company live on.

Owners act or don't, as the sample's hidden truth has it; what a call does to an account changes its later life.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.progress import Progress, ignore
from features.core.timestamps import DAY, from_micros
from features.samples import parts, responder, tidewater
from features.samples.responder import Letter
from features.settings import Settings
from features.state.database import Store
from features.state.tables import EPISODES, OUTBOX
from monitoring.alerts import acts
from monitoring.notifications.dead_letters import SENT


@dataclass(frozen=True)
class OwnersResponse:
    """What owners did with the letters, and how far the company has lived.

    Args:
        until: The first day without data.
        letters: Sent so far.
        planned: Calls that they made or will make because of these.
        acts: Of the days since it was last asked: acknowledgements and outcomes, by name.
    """

    until: date
    letters: int
    planned: int
    acts: dict[str, int]

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        did = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in sorted(self.acts.items()))
        yield f"Tidewater has lived until {self.until}. Letters sent: {self.letters:,}, calls: {self.planned:,}."
        yield f"Since the day before: {did or 'no acts'}."

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**vars(self), "until": self.until.isoformat()}


def live_on(settings: Settings, store: Store, *, until: date, progress: Progress = ignore) -> OwnersResponse:
    """Simulate what owners do about the letters sent so far, and the company's days up to `until`.

    Args:
        settings: Of a tidewater sample that was made with `--until`.
        store: Its state database.
        until: The first day without data; later than the sample's.
        progress: Called with accounts done and accounts in all.

    Raises:
        GarrisonError: The company is no such sample, or the day is not ahead.
    """
    folder, parameters = _read_sample(settings)
    before = date.fromisoformat(parameters["until"])
    if until <= before:
        raise GarrisonError(
            "the company can't live on until then", found=f"it has lived until {before}", hint="Name a later --until"
        )
    letters = _read_letters(store)
    earlier = responder.read_planned(folder)
    planned = earlier + responder.plan_contacts(letters, pq.read_table(folder / "truth_owners"), earlier)
    tidewater.write_sample(
        folder,
        accounts=parameters["accounts"],
        months=parameters["months"],
        seed=parameters["seed"],
        end=date.fromisoformat(parameters["end"]),
        until=until,
        owners_differ=parameters["owners_differ"],
        planned=planned,
        progress=progress,
    )
    done = responder.find_acts(
        letters,
        planned,
        pq.read_table(folder / "truth_contacts"),
        since=_number(before),
        until=_number(until),
    )
    counts: Counter[str] = Counter()
    for act in done:
        given: dict[str, Any] = {"by": act.owner, "reason": act.reason, "now": from_micros(act.at)}
        with suppress(GarrisonError):  # a run has closed it meanwhile
            if act.act == "ack":
                acts.acknowledge(store, act.episode_id, **given)
            else:
                acts.close(store, act.episode_id, outcome=act.act, **given)
            counts["acknowledged" if act.act == "ack" else act.act] += 1
    return OwnersResponse(until, len(letters), len(planned), dict(counts))


def _read_sample(settings: Settings) -> tuple[Path, dict[str, Any]]:
    source = settings.sources.get("accounts")
    folder = (settings.folder / source.path).parent if source is not None and source.path else settings.folder
    try:
        parameters = json.loads((folder / parts.NOTE).read_text(encoding="utf-8"))["parameters"]
        if parameters["sample"] == "tidewater" and parameters["until"]:
            return folder, dict(parameters)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise GarrisonError(
        f"{settings.company.name} can't live on: only a made-up company can",
        found=f"no tidewater sample with a day that it has lived to in {folder}",
        hint="Make one: python -m features sample tidewater --months 39 --until 2024-10-01",
    )


def _read_letters(store: Store) -> list[Letter]:
    """Read the episodes whose owner was sent a letter; its day is that of the scores it tells of."""
    e = EPISODES.c
    columns = (e.id, e.account_id, e.owner, e.cause, e.opened_as_of, e.expected)
    sent = sa.select(*columns).join(OUTBOX, OUTBOX.c.id == e.message_id).where(OUTBOX.c.state == SENT)
    with store.reading() as connection:
        rows = connection.execute(sent).all()
    return [
        Letter(r.id, r.account_id, r.owner or "", r.cause or "unknown", r.opened_as_of // DAY, r.expected or 0.0)
        for r in rows
    ]


def _number(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) // 86_400
