"""Write the message about a held run to the data team, once for each cause."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import sqlalchemy as sa

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.language import ENGLISH, Language
from features.core.local_formats import Day, Minute
from features.core.safe_line import to_safe_line
from features.core.timestamps import to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import OUTBOX
from monitoring.binding.reader_language import find_language
from monitoring.letters.text_lines import wrap
from serving.gate.verdict import RunVerdict

HELD = "held"
_SPACE = uuid.UUID("3f0b6f0e-54b5-5f0e-8a52-6a0a4e1f7c11")


def write_held_message(settings: Settings, state: Store, verdict: RunVerdict) -> str:
    """Put a message to the data team into the outbox, unless one about the same scores and causes is there.

    A run that is scored again, and is held for the same, is no news.

    Returns:
        What was done, for the terminal.

    Raises:
        GarrisonError: The settings' data team is not one plain address.
    """
    recipient = parse_data_team(settings)
    if recipient is None:
        return "Nobody is informed: the settings name no monitoring.data_team."
    message = _build_id(settings.company.name, verdict)
    now, language = to_micros(datetime.now(UTC)), find_language(settings, recipient)
    row = {
        "id": message,
        "run": verdict.run,
        "kind": HELD,
        "recipient": recipient,
        "subject": write_subject(settings.company.name, verdict, language),
        "body": write_body(verdict, language),
        "state": PENDING,
        "attempts": 0,
        "position": 0,
        "created_at": now,
        "next_try_at": now,
    }
    with state.writing() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(sa.text("LOCK TABLE outbox IN SHARE ROW EXCLUSIVE MODE"))
        if connection.scalar(sa.select(OUTBOX.c.id).where(OUTBOX.c.id == message)):
            return "The data team has been informed already."
        connection.execute(sa.insert(OUTBOX), row)
    return "A message to the data team is in the outbox."


def parse_data_team(settings: Settings) -> str | None:
    """Return the address of the data team; None if the settings name none.

    Raises:
        GarrisonError: They name one that is not one plain address.
    """
    team = settings.monitoring.data_team
    if team and parse_address(team) is None:
        hint = "Write it as name@example.com"
        raise GarrisonError("monitoring.data_team is not one plain e-mail address", found=repr(team), hint=hint)
    return parse_address(team)


def write_subject(company: str, verdict: RunVerdict, language: Language = ENGLISH) -> str:
    """Write the subject: the company, the scores and what they are held for, on one line."""
    text = "Held: {company}'s scores as of {day}, for {cause}"
    return to_safe_line(language.say(text, company=company, day=Day(verdict.as_of), cause=verdict.cause), 120)


def write_body(verdict: RunVerdict, language: Language = ENGLISH) -> str:
    """Write the body: each reason with its figure, in the check's own words, and what to do."""
    say = language.say
    text = (
        "No alert goes out on the scores as of {day}, and they are not delivered: "
        "something is wrong with what they were made from."
    )
    lines = [
        *wrap(say(text, day=Day(verdict.as_of))),
        "",
        say("Why:"),
        *_list_reasons(verdict, "hold"),
        "",
    ]
    if watched := list(_list_reasons(verdict, "watch")):
        lines += [say("Also worth a look:"), *watched, ""]
    advice = (
        "What to do: repair the source, then score again. "
        "If the data are right, or these scores will not be needed, decide and say why:"
    )
    models = to_safe_line(", ".join(verdict.models.values()))
    lines += [
        *wrap(say(advice)),
        f"  python -m monitoring release {verdict.name} --reason …",
        f"  python -m monitoring discard {verdict.name} --reason …",
        "",
        "--",
        say("Run {run} by {models}", run=verdict.run, models=models),
        say("Data should be up to date as of {instant}.", instant=Minute(verdict.judged_until)),
    ]
    return "\n".join(lines) + "\n"


def _list_reasons(verdict: RunVerdict, state: str) -> Iterator[str]:
    reasons = (reason for reason in verdict.reasons if reason.state == state)
    for number, reason in enumerate(reasons, 1):
        yield from wrap(to_safe_line(str(reason), 300), f"  {number}. ")


def _build_id(company: str, verdict: RunVerdict) -> str:
    causes = sorted({f"{reason.kind} {reason.subject}" for reason in verdict.reasons if reason.state == "hold"})
    return str(uuid.uuid5(_SPACE, "\x1f".join((company, str(to_micros(verdict.as_of)), *causes))))
