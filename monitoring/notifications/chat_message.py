"""Write a message for Slack and Teams: plain text that no account's name can turn into markup, a mention or a link.

A letter's links are signed for its recipient, and a chat channel has many readers: they stay in the e-mail.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from features.core.language import ENGLISH, Language
from features.core.safe_line import to_safe_line, to_safe_text
from monitoring.notifications.email_message import OutgoingMessage

# Slack: 150 characters of a header, 3,000 of a section, 50 blocks. Teams: 28 kB a message, as JSON.
_HEADER, _SECTION, _SECTIONS, _BYTES, _ROWS = 150, 2_900, 4, 10_000, 150
_URL = re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://\S+")


def build_slack(message: OutgoingMessage, language: Language = ENGLISH) -> dict[str, Any]:
    """Return the JSON of an incoming webhook; `text` is what notifications show, so that it alone is escaped."""
    title = to_safe_line(message.subject, _HEADER)
    sections = [_plain("section", part) for part in _split(_hide_links(to_safe_text(message.body), language), _SECTION)]
    return {
        "text": html.escape(title, quote=False),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [_plain("header", title), *sections[:_SECTIONS]],
    }


def build_teams(message: OutgoingMessage, language: Language = ENGLISH) -> dict[str, Any]:
    """Return the JSON of a webhook of Teams' Workflows: a card of text runs, which know no markup."""
    title = to_safe_line(message.subject, _HEADER)
    text = _hide_links(to_safe_text(message.body), language).encode()[:_BYTES].decode(errors="ignore")
    rows = [_run(title, weight="Bolder", size="Medium"), *(_run(line or " ") for line in text.splitlines())]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [row]} for row in rows[:_ROWS]],
    }
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [content]}


def _hide_links(text: str, language: Language) -> str:
    return _URL.sub(language.say("(link in the e-mail)"), text)


def _plain(kind: str, text: str) -> dict[str, Any]:
    # Of type plain_text: Slack shows <!channel> and *stars* as they are.
    return {"type": kind, "text": {"type": "plain_text", "text": text, "emoji": False}}


def _run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **style}


def _split(text: str, most: int) -> Iterator[str]:
    """Yield parts of at most so many characters, cut at line ends where there are some."""
    rest = text.strip("\n")
    while len(rest) > most:
        end = rest.rfind("\n", 1, most)
        end = most if end < 0 else end
        yield rest[:end]
        rest = rest[end:].lstrip("\n")
    if rest.strip():
        yield rest
