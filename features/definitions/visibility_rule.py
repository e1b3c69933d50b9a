"""The visibility rule: what of a history can be seen at an instant `as_of`. It is stated here and nowhere else.

Each function takes operands of any of four forms: Ibis columns, SQL text, NumPy arrays (NaN for null), or plain
Python values (None for null). Instants are whole microseconds since 1970, UTC. A fact exactly at `as_of` is not
visible: it belongs to the label, which looks at `[as_of, as_of + horizon)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np

from features.core.sql_text import SqlText
from features.core.timestamps import NEVER


@dataclass(frozen=True)
class Form:
    """The two operations of the rule that no operator stands for.

    Args:
        latest: Return the later of two instants.
        given: Return the first instant, or the second where the first is null.
    """

    latest: Callable[[Any, Any], Any]
    given: Callable[[Any, Any], Any]


IBIS = Form(ibis.greatest, ibis.coalesce)
SQL = Form(lambda x, y: SqlText(f"greatest({x}, {y})"), lambda x, y: SqlText(f"coalesce({x}, {y})"))
ARRAYS = Form(np.maximum, lambda x, y: np.where(np.isnan(x), y, x))
ROWS = Form(max, lambda x, y: y if x is None else x)


def has_happened(event_time: Any, as_of: Any) -> Any:
    """Return whether an event has come: strictly before `as_of`."""
    return event_time < as_of


def is_known(known_at: Any, as_of: Any) -> Any:
    """Return whether an event is known to the company: at `as_of` at the latest."""
    return known_at <= as_of


def is_in_force(event_time: Any, until: Any, as_of: Any) -> Any:
    """Return whether a fact that ends has begun and not ended: an end exactly at `as_of` belongs to the label."""
    return has_happened(event_time, as_of) & (until >= as_of)


def is_visible(event_time: Any, known_at: Any, as_of: Any, until: Any = None) -> Any:
    """Return whether a fact can be seen at `as_of`: it has come, is known and, where it has an end, is in force.

    Example:
        >>> is_visible(event_time=10, known_at=11, as_of=11), is_visible(event_time=10, known_at=10, as_of=10)
        (True, False)
        >>> str(is_visible(SqlText("used_at"), SqlText("known_at"), "as_of"))
        '((used_at < as_of) AND (known_at <= as_of))'
    """
    began = has_happened(event_time, as_of) if until is None else is_in_force(event_time, until, as_of)
    return began & is_known(known_at, as_of)


def visible_from(event_time: Any, known_at: Any, form: Form) -> Any:
    """Return the first `as_of` at which a fact without an end is visible: the same rule, as an instant to sort by."""
    return form.latest(event_time + 1, known_at)


def exists(created_at: Any, merged_at: Any, as_of: Any, form: Form) -> Any:
    """Return whether an account has a snapshot at `as_of`: created before it, and not merged into another by then."""
    return has_happened(created_at, as_of) & (form.given(merged_at, NEVER) > as_of)


@dataclass(frozen=True)
class Opening:
    """A ticket's opening, which tells how long news of the ticket took to reach the company.

    Args:
        opened_at: When the ticket was opened.
        known_at: When its present account learned of it.
        first_known_at: When the company did, where a merge told the present account later; else null.
    """

    opened_at: Any
    known_at: Any
    first_known_at: Any


def reported_at(opening: Opening, at: Any, own_known_at: Any, form: Form) -> Any:
    """Return when news of a ticket's response or resolution reached the company.

    Without a recorded time, assume the delay with which the opening was reported.

    Args:
        opening: Of the ticket.
        at: When the response or resolution came.
        own_known_at: Its recorded time of being known; null where nothing was recorded.
        form: Of the operands.
    """
    delay = form.given(opening.first_known_at, opening.known_at) - opening.opened_at
    return form.given(own_known_at, at + delay)


def outcome_known_at(opening: Opening, at: Any, own_known_at: Any, form: Form) -> Any:
    """Return when a response or resolution became known: never before the ticket itself; arguments as `reported_at`."""
    return form.latest(opening.known_at, reported_at(opening, at, own_known_at, form))


def outcome_event_time(opening: Opening, at: Any, form: Form) -> Any:
    """Return the instant of a response or resolution: a clock that is off may date it before its ticket was opened."""
    return form.latest(at, opening.opened_at)


def is_outcome_visible(opening: Opening, at: Any, own_known_at: Any, as_of: Any, form: Form) -> Any:
    """Return whether a response or resolution can be seen at `as_of`; arguments as `reported_at`."""
    known_at = outcome_known_at(opening, at, own_known_at, form)
    return is_visible(outcome_event_time(opening, at, form), known_at, as_of)


def end_known_at(began_at: Any, known_at: Any, ended_at: Any, form: Form) -> Any:
    """Return when the end of a record became known: as long after it as its beginning was known after that.

    Args:
        began_at: When the record begins: since when a person is there, when a promise was made.
        known_at: When that was known.
        ended_at: When it ended: when the person left, when the promise was kept.
        form: Of the operands.
    """
    return form.latest(known_at, ended_at + (known_at - began_at))
