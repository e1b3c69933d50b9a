"""What people do on an account's page: each act, its form and its record in the audit table are one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from features.core.errors import GarrisonError
from features.settings import Settings
from features.state.account_tables import ACCOUNT_NOTES, ACCOUNT_PROMISES
from features.state.database import Store
from features.state.tables import EVENT_LOG
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.sign_in.person import Person
from monitoring.lifetime.notes import write_note
from monitoring.lifetime.promises import keep_promise, make_promise
from monitoring.lifetime.submitted_forms import claim_form
from monitoring.lifetime.touches import record_touch

# Acts on an account, without those on its episodes.
ACTS = ("note", "promise", "keep", "touch")
# Kept of what was written, in the audit table.
_LONGEST = 500


def act_on_account(  # noqa: PLR0913, PLR0917  # who does what to what
    settings: Settings, store: Store, person: Person, account_id: str, act: str, form: Mapping[str, str]
) -> None:
    """Do an act on an account that the person sees; a form that did its act before does nothing.

    Args:
        settings: The company's.
        store: The state database.
        person: Who acts.
        account_id: Of the account.
        act: One of `ACTS`.
        form: `form` (its key), and by act `text`, `due` and `by`, `promise`, `kind` and `day`.

    Raises:
        GarrisonError: The act lacks what it needs, or came too late; nothing was changed.
    """
    key = form.get("form", "")
    with begin_act(store) as joined:
        connection = joined.connection
        if not claim_form(connection, key, by=person.address, act=act):
            return
        details: dict[str, str] = {"account": account_id}
        table, row = ACCOUNT_NOTES.name, key
        if act == "note":
            note = write_note(connection, account_id, form.get("text", ""), by=person.address, key=key)
            details["text"] = note.text[:_LONGEST]
        elif act == "promise":
            table, by = ACCOUNT_PROMISES.name, form.get("by", "").strip() or person.address
            due = _read_day(form.get("due", ""), person) + timedelta(days=1, microseconds=-1)
            given = {"due": due, "by": by, "recorded_by": person.address, "key": key}
            promise = make_promise(connection, account_id, form.get("text", ""), **given)  # type: ignore[arg-type]
            details |= {"text": (promise.text or "")[:_LONGEST], "by": by, "due": due.date().isoformat()}
        elif act == "keep":
            table, row = ACCOUNT_PROMISES.name, form.get("promise", "")
            keep_promise(connection, account_id, row, by=person.address)
        elif act == "touch":
            table, at = EVENT_LOG.name, _read_past(form.get("day", ""), person)
            record_touch(settings, joined, account_id, kind=form.get("kind", ""), at=at, key=key)
            details |= {"kind": form.get("kind", ""), "day": at.date().isoformat()}
        else:
            raise GarrisonError(f"there is no act {act!r}", hint=f"One of {', '.join(ACTS)}")
        record_act(connection, person, act, table, row, details)


def _read_day(text: str, person: Person) -> datetime:
    """Return the midnight at which a day begins for a person.

    Raises:
        GarrisonError: It is no day.
    """
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(), ZoneInfo(person.timezone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise GarrisonError("this is no day", found=repr(text[:40]), hint="Choose one, such as 2026-01-31") from None


def _read_past(text: str, person: Person) -> datetime:
    """Return noon of a day that has been, for a person; of the day that is, now.

    Raises:
        GarrisonError: It is no day, or one to come.
    """
    now, begins = datetime.now(UTC), _read_day(text, person)
    if begins > now:
        raise GarrisonError("a touch can't be in the future", found=text, hint="Choose today or a day before")
    return min(begins + timedelta(hours=12), now)
