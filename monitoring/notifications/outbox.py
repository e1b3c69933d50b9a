"""The outbox: messages wait here until they are delivered, each of them at least once.

A message goes from pending to sending to sent. After a refusal it goes back to pending, in the end to failed
(`dead_letters`). One whose sending was cut off is sent again: by itself where its end had not been sent, once more and
counted as a doubt where only the answer is missing, since an alert lost is worse than one shown twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.core.errors import DeliveryError, GarrisonError
from features.settings import Settings
from features.state.database import Store
from features.state.message_states import PENDING, UNDELIVERABLE, WITHHELD
from features.state.tables import EPISODES, OUTBOX
from monitoring.notifications import channels, dead_letters
from monitoring.notifications.channel_choice import choose_channels
from monitoring.notifications.channels import Channel, ChannelPlan
from monitoring.notifications.claims import ANNOUNCED, FAILED, FINAL, SENDING, Claims, find_next_turn, take_seat
from monitoring.notifications.dead_letters import BOUNCED, SENT, Fallback
from monitoring.notifications.email_message import AnswerUnknown, MessageRefused, OutgoingMessage
from monitoring.notifications.told_episodes import mark_told

# Of a message whose answer was lost, in the counts of one delivery.
DOUBTFUL = "doubtful"
# States in which a message waits for a person.
NEEDS_ATTENTION = (FAILED, BOUNCED, UNDELIVERABLE)
# Seconds that one delivery waits for its channels' limits in all; the rest is the next one's.
_PATIENCE = 600
_STORE_TRIES = 3


@dataclass(frozen=True)
class BlockedMessage:
    """A message that needs a person's attention: failed, bounced, or without a recipient.

    Args:
        id: Its id.
        account_id: The account that it is about; None for a message about a run.
        run: The held run that it is about; None for a message about an account.
        state: failed, bounced or undeliverable.
        reason: Why it is in that state.
        subject: Its subject, which names the account.
        doubts: How often its answer was lost: if ever, it may have arrived.
    """

    id: str
    account_id: str | None
    run: str | None
    state: str
    reason: str
    subject: str
    doubts: int = 0


@dataclass(frozen=True)
class Delivery:
    """The result of one delivery, and what the outbox holds after it.

    Args:
        sent: Messages sent now.
        refused: Messages refused now, to be tried again.
        doubtful: Messages whose answer was lost, found now: each is sent once more, and may be shown twice.
        waiting: Messages pending after it.
        needs_attention: Messages that wait for a person.
        withheld: Messages over an owner's cap.
        busy: Whether so many processes are delivering that this one did nothing.
    """

    sent: int
    refused: int
    doubtful: int
    waiting: int
    needs_attention: tuple[BlockedMessage, ...]
    withheld: int
    busy: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        keys = ("id", "account_id", "run", "state", "reason")
        stuck = [{key: getattr(message, key) for key in keys} for message in self.needs_attention]
        counts = {key: getattr(self, key) for key in ("sent", "refused", "doubtful", "waiting")}
        return {**counts, "stuck": stuck, "withheld": self.withheld, "busy": self.busy}


def deliver(settings: Settings, store: Store, *, now: int | None = None) -> Delivery:
    """Send every message that is due, oldest first; of one age, the most at stake first.

    Several processes may deliver at once: each claims a few messages at a time.

    Args:
        settings: Their `alerts` name the channels.
        store: The state database.
        now: The instant (µs); by default the clock's. With one given, nothing waits for a channel's limit.

    Raises:
        DeliveryError: A channel takes no messages: those not sent by then stay pending; other channels' are sent.
        GarrisonError: No channel is set, or the database is locked.
    """
    results = Counter[str]()
    with take_seat(store) as seat:
        if seat is not None:
            claims = Claims(store, seat, (lambda: time.time_ns() // 1000) if now is None else (lambda: now))
            results[DOUBTFUL] += claims.recover()
            if _has_pending(store):
                plans = channels.list_channels(settings.alerts, settings.folder)
                choose_channels(store, plans, claims.clock())
                _send_all(settings, claims, plans, results, is_patient=now is None)
    return _summarize(store, results, busy=seat is None)


def _send_all(
    settings: Settings, claims: Claims, plans: Mapping[str, ChannelPlan], results: Counter[str], *, is_patient: bool
) -> None:
    """Send what is due on each channel; one that takes no messages does not hold up the others.

    Raises:
        DeliveryError: Of the channels that took none.
    """
    troubles = []
    end = time.monotonic() + (_PATIENCE if is_patient else 0)
    fallbacks = dead_letters.find_fallbacks(settings)
    for plan in plans.values():
        try:
            for result in _Sender(claims, plan, fallbacks).send_due(end):
                results[result] += 1
        except DeliveryError as trouble:
            troubles.append(trouble)
    if troubles:
        sent = f"{results[SENT]:,} messages were sent all the same. " if results[SENT] else ""
        problem = "; ".join(trouble.problem for trouble in troubles)
        found = "; ".join(trouble.found for trouble in troubles if trouble.found)
        raise DeliveryError(problem, found=found, hint=f"{sent}{troubles[0].hint or ''}")


class _Sender:
    """Sends the messages of one channel."""

    def __init__(self, claims: Claims, plan: ChannelPlan, fallbacks: list[Fallback]) -> None:
        self._claims, self._plan, self._fallbacks = claims, plan, fallbacks

    def send_due(self, end: float) -> Iterator[str]:
        """Send what is due, and yield what became of each message; wait for the channel's limit until `end`."""
        while batch := self._take(end):
            channel = self._open()
            try:
                for message in batch:
                    state, pause = self._send(channel, message)
                    yield state
                    if pause is not None:
                        dead_letters.pause(self._claims, self._plan.name, pause)
                        return
            finally:
                channel.close()
                self._claims.release()

    def _open(self) -> Channel:
        """Open the channel; a mistake in its settings is its own trouble, and gives back what is claimed."""
        try:
            return self._plan.open()
        except GarrisonError as error:
            self._claims.release()
            raise DeliveryError(error.problem, found=error.found, hint=error.hint) from error

    def _take(self, end: float) -> list[OutgoingMessage]:
        name, limit = self._plan.name, self._plan.per_minute
        while not (batch := self._claims.take(name, per_minute=limit)) and limit is not None:
            turn = find_next_turn(self._claims.store, name, self._claims.clock())
            seconds = 0.0 if turn is None else max(0.05, (turn - self._claims.clock()) / 1e6)
            if turn is None or time.monotonic() + seconds > end:
                break
            time.sleep(seconds)
        return batch

    def _send(self, channel: Channel, message: OutgoingMessage) -> tuple[str, float | None]:
        """Send one message; return what became of it, and the seconds for which its channel wants no other.

        Before each step that takes us further it is stored that we take it, and whether the message is still ours.
        Between the last such change and the storing of the answer nothing else is done: a crash there is the one
        that leaves it unknown whether the message was sent.
        """
        try:
            channel.prepare(message)
            if not self._claims.mark(message, ANNOUNCED):
                channel.close()
                return SENDING, None
            channel.transfer(message)
            if not self._claims.mark(message, FINAL):
                channel.close()
                return SENDING, None
            channel.commit(message)
        except MessageRefused as refusal:
            return dead_letters.put_back(self._claims, message, refusal, self._fallbacks), refusal.retry_after
        except AnswerUnknown as unknown:
            dead_letters.put_back(self._claims, message, unknown, self._fallbacks)
            return DOUBTFUL, None
        except DeliveryError:
            self._claims.change(message.id, state=PENDING, claimed_by=None, claimed_until=None, phase=None)
            raise
        self._store_sent(message)
        return SENT, None

    def _store_sent(self, message: OutgoingMessage) -> None:
        """Store that a message was sent; a database that fails for a moment is asked again, lest it be sent twice."""
        now = self._claims.clock()
        done = {"claimed_by": None, "claimed_until": None, "phase": None, "reason": None}
        sent = self._claims.update(message.id).values(state=SENT, attempts=OUTBOX.c.attempts + 1, sent_at=now, **done)
        for left in reversed(range(_STORE_TRIES)):
            try:
                with self._claims.store.writing() as connection:
                    if connection.execute(sent).rowcount:
                        mark_told(connection, message.id, now)
            except GarrisonError:
                if not left:
                    raise
                time.sleep(0.1)
            else:
                return


def _has_pending(store: Store) -> bool:
    with store.reading() as connection:
        return connection.scalar(sa.select(OUTBOX.c.id).where(OUTBOX.c.state == PENDING).limit(1)) is not None


def _summarize(store: Store, results: Counter[str], *, busy: bool) -> Delivery:
    """Count the messages by state, and read those that need attention."""
    states = sa.select(OUTBOX.c.state, sa.func.count().label("number")).group_by(OUTBOX.c.state)
    original = OUTBOX.alias("original")
    columns = (OUTBOX.c[name] for name in ("run", "state", "reason", "subject", "doubts"))
    blocked = (
        sa.select(OUTBOX.c.id, EPISODES.c.account_id, *columns)
        .outerjoin(original, original.c.id == OUTBOX.c.copy_of)
        .outerjoin(EPISODES, EPISODES.c.id == sa.func.coalesce(OUTBOX.c.episode_id, original.c.episode_id))
        .where(OUTBOX.c.state.in_(NEEDS_ATTENTION))
        .order_by(OUTBOX.c.state, OUTBOX.c.created_at, OUTBOX.c.position)
    )
    with store.reading() as connection:
        counts = {row.state: row.number for row in connection.execute(states)}
        needs_attention = tuple(BlockedMessage(*row) for row in connection.execute(blocked))
    return Delivery(
        sent=results[SENT],
        refused=results[PENDING],
        doubtful=results[DOUBTFUL],
        waiting=counts.get(PENDING, 0),
        needs_attention=needs_attention,
        withheld=counts.get(WITHHELD, 0),
        busy=busy,
    )
