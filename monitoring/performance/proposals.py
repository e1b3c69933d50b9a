"""Keep what people propose: that models be trained again. A proposal is a letter to the data team."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import OUTBOX
from monitoring.letters.text_lines import wrap
from monitoring.notifications.held_run import parse_data_team

PROPOSAL = "retraining_proposed"
_SPACE = uuid.UUID("5a2a8a1a-96a7-59e4-8b60-2c7f4c6f3f9d")


@dataclass(frozen=True)
class Proposal:
    """A person's proposal to train again: when (µs), and the letter's text."""

    at: int
    text: str

    def __str__(self) -> str:
        return f"{from_micros(self.at):%Y-%m-%d}: {to_safe_line(self.text, 300)}"


def propose_retraining(settings: Settings, store: Store, *, by: str, reason: str, now: datetime | None = None) -> str:
    """Propose to train again: the letter goes to the data team, once for a person, a day and a reason.

    Args:
        settings: With the data team.
        store: The state database.
        by: Who proposes.
        reason: Why.
        now: The instant; by default the clock's.

    Returns:
        The id of the message.

    Raises:
        GarrisonError: There is no reason, or nobody to send it to.
    """
    words, at = to_safe_line(reason, 500), now or datetime.now(UTC)
    if not reason.strip():
        raise GarrisonError("a proposal needs a reason", hint="Say what you saw")
    recipient = parse_data_team(settings)
    if recipient is None:
        raise GarrisonError("the settings name no data team", hint="Set monitoring.data_team")
    message = str(uuid.uuid5(_SPACE, f"{settings.company.name}\x1f{by}\x1f{at:%Y-%m-%d}\x1f{words}"))
    said = f"{to_safe_line(by, 200)} proposes to train the models again: {words}"
    body = [*wrap(said), "", "What speaks for it in figures: python -m monitoring retrain-check"]
    row = {
        "id": message,
        "kind": PROPOSAL,
        "recipient": recipient,
        "subject": to_safe_line(f"{settings.company.name}: train the models again?", 120),
        "body": "\n".join(body) + "\n",
        "state": PENDING,
        "attempts": 0,
        "position": 0,
        "created_at": to_micros(at),
        "next_try_at": to_micros(at),
    }
    with store.writing() as connection:
        if not connection.scalar(sa.select(OUTBOX.c.id).where(OUTBOX.c.id == message)):
            connection.execute(sa.insert(OUTBOX), row)
    return message


def read_proposals(store: Store, *, limit: int = 5) -> Iterator[Proposal]:
    """Read what people proposed last, the newest first."""
    query = sa.select(OUTBOX.c.created_at, OUTBOX.c.body).where(OUTBOX.c.kind == PROPOSAL)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(OUTBOX.c.created_at.desc(), OUTBOX.c.id).limit(limit)).all()
    for at, body in rows:
        yield Proposal(at, " ".join(body.partition("\n\n")[0].split()))
