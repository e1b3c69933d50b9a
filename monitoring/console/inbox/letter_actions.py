"""Answer the links of letters: a page that says what will happen; the act itself when its button is pressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from features.core.errors import GarrisonError
from features.core.language import Phrase, find_accepted
from features.core.local_formats import Minute
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from features.state.tables import EPISODES, OUTBOX
from monitoring.alerts import acts
from monitoring.binding.reader_language import find_language
from monitoring.console.context import ConsoleContext
from monitoring.letters.links import LetterLink, LinkRefused, LinkSigner

_LARGEST = 8_192  # bytes of a form
_DAYS = (3, 7, 14, 30)
_DONE = {
    "acknowledge": "You have taken it on",
    "snooze": "It rests",
    "saved": "Closed as saved",
    "false-alarm": "Closed as a false alarm",
}
_ASKED = {
    "acknowledge": ("Take it on?", "Nobody else is reminded of it while you are at it.", "I take care of it"),
    "snooze": ("Let it rest?", "You hear of it again after that, or before if it gets clearly worse.", "Let it rest"),
    "saved": ("Was the account saved?", "The episode is closed, and the outcome is learned from.", "It is saved"),
    "false-alarm": ("Was it a false alarm?", "The episode is closed, and the reason is learned from.", "Close it"),
}


@dataclass(frozen=True)
class _Episode:
    """An episode as its reader sees it, and who the reader is."""

    id: str
    account_id: str
    state: str
    version: int
    outcome: str | None
    acknowledged_by: str | None
    acknowledged_at: int | None
    reader: str
    subject: str


@dataclass(frozen=True)
class _Page:
    """What a page says.

    Args:
        title: Its heading, to be translated.
        lines: Paragraphs; phrases are said in the reader's language.
        status: Of the answer.
        form: Values of its form; None for none.
        note: Stands below.
        reader: Address of the letter's recipient, whose language the page has; None where the link doesn't say.
    """

    title: str
    lines: Sequence[str | Phrase]
    status: int = 200
    form: Mapping[str, Any] | None = None
    note: str | Phrase = ""
    reader: str | None = None


@dataclass(frozen=True)
class LetterActions:
    """The two handlers: GET shows, POST acts.

    Args:
        context: Of the process.
        signer: Of the links.
    """

    context: ConsoleContext
    signer: LinkSigner

    async def show(self, request: Request) -> Response:
        """Show what the link will do; it changes nothing, since mail scanners follow links too."""
        return self._render(
            request, await run_in_threadpool(self._answer, self._show, request.path_params["token"], {})
        )

    async def act(self, request: Request) -> Response:
        """Do what the link says, if the button of its page was pressed."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST:
                return self._render(request, _Page("This is too long", [Phrase("Write at most 500 characters.")], 413))
        try:
            form = {k: v[0] for k, v in parse_qs(body.decode("utf-8", "replace"), max_num_fields=10).items()}
        except ValueError:
            page = _Page("This is not our form", [Phrase("Open the link of the letter once more.")], 400)
            return self._render(request, page)
        page = await run_in_threadpool(self._answer, self._act, request.path_params["token"], form)
        return self._render(request, page)

    def _answer(self, handle: Callable[[str, Mapping[str, str]], _Page], token: str, form: Mapping[str, str]) -> _Page:
        try:
            return handle(token, form)
        except LinkRefused as refusal:
            return _Page("This link can't be used", [Phrase(str(refusal))], 403)

    def _show(self, token: str, _: Mapping[str, str]) -> _Page:
        link = self.signer.read(token)
        episode = self._read(link)
        if episode.state == "closed":
            outcome = Phrase(str(episode.outcome).replace("_", " "))
            said = Phrase("It was closed already, as {outcome}.", {"outcome": outcome})
            return _Page("This is over", [_name(episode), said], reader=episode.reader)
        if link.action == "acknowledge" and episode.acknowledged_at is not None:
            since = Phrase(
                "{person} since {instant}.",
                {"person": episode.acknowledged_by, "instant": Minute(from_micros(episode.acknowledged_at))},
            )
            return _Page("Somebody is at it", [_name(episode), since], reader=episode.reader)
        title, says, words = _ASKED[link.action]
        form = {
            "button": self.signer.sign_button(token),
            "version": episode.version,
            "days": _DAYS if link.action == "snooze" else (),
            "words": words,
            "reason_needed": link.action in {"false-alarm", "snooze"},
            "reason_label": "Why" if link.action in {"false-alarm", "snooze"} else "A note, if you like",
        }
        note = Phrase("You act as {address}.", {"address": episode.reader})
        return _Page(title, [_name(episode), Phrase(says)], form=form, note=note, reader=episode.reader)

    def _act(self, token: str, form: Mapping[str, str]) -> _Page:
        link = self.signer.read(token)
        self.signer.check_button(token, form.get("button", ""))
        episode = self._read(link)
        # A browser may post again; the same act once more is no error, whoever did it first.
        if not (link.action == "acknowledge" and episode.acknowledged_by == episode.reader):
            if link.action == "false-alarm" and not form.get("reason", "").strip():
                why = "A false alarm needs a reason. Open the link of the letter once more, and say what was wrong."
                return _Page("Nothing was changed", [_name(episode), Phrase(why)], 409, reader=episode.reader)
            try:
                self._change(link, episode, form)
            except GarrisonError:  # somebody else was first, or it is closed
                why = "It has changed since you saw it. Open the link of the letter once more, and decide anew."
                return _Page("Nothing was changed", [_name(episode), Phrase(why)], 409, reader=episode.reader)
        said = Phrase("You can close this page.")
        return _Page(_DONE[link.action], [_name(episode), said], reader=episode.reader)

    def _change(self, link: LetterLink, episode: _Episode, form: Mapping[str, str]) -> None:
        version = form.get("version", "")
        seen = int(version) if version.isdecimal() else episode.version
        given: dict[str, Any] = {"by": episode.reader, "version": seen}
        reason = to_safe_line(form.get("reason", ""), 500) if form.get("reason", "").strip() else ""
        if link.action == "acknowledge":
            acts.acknowledge(self.context.store, episode.id, reason=reason, **given)
        elif link.action == "snooze":
            days = int(form["days"]) if form.get("days", "") in map(str, _DAYS) else 7
            acts.snooze(
                self.context.store, episode.id, until=datetime.now(UTC) + timedelta(days=days), reason=reason, **given
            )
        else:
            outcome = "saved" if link.action == "saved" else "false_alarm"
            acts.close(self.context.store, episode.id, outcome=outcome, reason=reason, **given)

    def _read(self, link: LetterLink) -> _Episode:
        """Read the episode of a link, and the recipient of its message.

        Raises:
            LinkRefused: One of them is gone.
        """
        c = EPISODES.c
        wanted = (c.id, c.account_id, c.state, c.version, c.outcome, c.acknowledged_by, c.acknowledged_at)
        query = (
            sa.select(*wanted, OUTBOX.c.recipient, OUTBOX.c.subject)
            .join_from(EPISODES, OUTBOX, OUTBOX.c.id == link.message)
            .where(c.id == link.episode, OUTBOX.c.recipient.is_not(None))
        )
        with self.context.store.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise LinkRefused("What it is about is no longer stored.")
        return _Episode(*row)

    def _render(self, request: Request, page: _Page) -> Response:
        settings, accepted = self.context.settings, request.headers.get("accept-language", "")
        language = find_language(settings, page.reader) if page.reader else find_accepted(accepted)
        # The link's host may have a path in front: addresses on this page are relative.
        return self.context.render(
            request,
            "action.html",
            status=page.status,
            language=language.name,
            static="../static",
            title=page.title,
            lines=page.lines,
            form=page.form,
            note=page.note,
        )


def _name(episode: _Episode) -> Phrase:
    values = {"id": to_safe_line(episode.account_id, 60), "subject": to_safe_line(episode.subject, 200)}
    return Phrase("Account {id}: {subject}", values)
