"""Simulate how tidewater's owners answer the letters that they were sent: who acts, when, and what they then state.

What a contact does to the account is simulated by `contacts`, in the company that lives on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.core.timestamps import DAY
from features.samples.contacts import CAUSES, PlannedContact

_SLOWEST = 6  # days until an owner has called
_KNOWS_AFTER = 10  # days after a call until its owner states what came of it
_STATES = 0.85  # share of the calls of which the owner states it
_WELL = ("settling", "steady", "growing")


@dataclass(frozen=True)
class Letter:
    """A letter about an account that was sent to its owner.

    Args:
        episode_id: What it is about.
        account_id: Whom.
        owner: The address that it went to.
        cause: What its play works against.
        day: On which it was sent, since 1970.
        expected: What acting is worth: owners take the most first.
    """

    episode_id: str
    account_id: str
    owner: str
    cause: str
    day: int
    expected: float


@dataclass(frozen=True)
class OwnerAct:
    """What an owner does with an episode: 'ack' or an outcome such as 'saved'; `at` in µs since 1970."""

    episode_id: str
    owner: str
    at: int
    act: str
    reason: str


def plan_contacts(
    letters: Sequence[Letter], owners: pa.Table, earlier: Sequence[PlannedContact]
) -> list[PlannedContact]:
    """Return the contacts that owners make because of letters not answered earlier, in the order of their days.

    Args:
        letters: All that were sent so far.
        owners: The sample's truth_owners.
        earlier: What these owners planned before; their time of those weeks is taken.
    """
    able = {row["owner_email"]: row for row in owners.to_pylist()}
    owner_of = {letter.episode_id: letter.owner for letter in letters}
    answered = {contact.episode_id for contact in earlier}
    busy = Counter((owner_of.get(contact.episode_id), contact.day // 7) for contact in earlier)
    planned = []
    for letter in sorted(letters, key=lambda one: (one.day, -one.expected, one.episode_id)):
        person = able.get(letter.owner)
        if person is None or letter.episode_id in answered or _draw(letter.episode_id, "acts") >= person["acts"]:
            continue
        day = letter.day + 1 + int(_draw(letter.episode_id, "delay") * _SLOWEST)
        if busy[letter.owner, day // 7] >= person["load"]:
            continue
        busy[letter.owner, day // 7] += 1
        cause = letter.cause if letter.cause in CAUSES else "unknown"
        planned.append(PlannedContact(letter.account_id, day, cause, letter.episode_id))
    return sorted(planned, key=lambda contact: (contact.day, contact.episode_id))


def find_acts(
    letters: Sequence[Letter], planned: Sequence[PlannedContact], truth: pa.Table, *, since: int, until: int
) -> list[OwnerAct]:
    """Return what owners did on the days `[since, until)`: they acknowledge as they call, and state later what came.

    Args:
        letters: That the contacts answer.
        planned: The contacts, made or to come.
        truth: The sample's truth_contacts, with what each contact made did.
        since: Day since 1970.
        until: Day since 1970.
    """
    owner_of = {letter.episode_id: letter.owner for letter in letters}
    effects = {
        (row["account_id"], int(row["at"].timestamp()) // 86_400): (row["state"], row["effect"], row["at"])
        for row in truth.to_pylist()
    }
    acts = []
    for contact in planned:
        made, owner = effects.get((contact.account_id, contact.day)), owner_of.get(contact.episode_id)
        if made is None or owner is None:  # the account had left, or the day is to come
            continue
        state, effect, instant = made
        at = int(instant.timestamp()) * 10**6
        if since <= contact.day < until:
            acts.append(OwnerAct(contact.episode_id, owner, at, "ack", ""))
        stated = _state(contact.episode_id, state, effect)
        if stated and since <= contact.day + _KNOWS_AFTER < until:
            acts.append(OwnerAct(contact.episode_id, owner, at + _KNOWS_AFTER * DAY, *stated))
    return sorted(acts, key=lambda act: (act.at, act.episode_id))


def read_planned(folder: Path) -> list[PlannedContact]:
    """Read the contacts that a sample was made with."""
    return [PlannedContact(**row) for row in pq.read_table(folder / "truth_planned").to_pylist()]


def _state(episode: str, state: str, effect: str) -> tuple[str, str] | None:
    if _draw(episode, "states") >= _STATES:
        return None
    if effect == "saved":
        return "saved", "they work with us again"
    return ("false_alarm", "all is well there") if state in _WELL else None


def _draw(episode: str, purpose: str) -> float:
    """Return the number, uniform in [0, 1), that an episode has for a purpose in every run."""
    digest = hashlib.sha256(f"{purpose}\x1f{episode}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
