"""Sign the links of letters: each is bound to one message, and so to its recipient, to one episode and one action."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Literal, get_args

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from features.core.errors import GarrisonError
from features.settings.alerts import Links
from monitoring.letters.account_risk import Action

ActionName = Literal["acknowledge", "snooze", "saved", "false-alarm"]
WORDS: dict[str, str] = {
    "acknowledge": "I take care of it",
    "snooze": "Snooze",
    "saved": "Saved",
    "false-alarm": "False alarm",
}
_TOO_OLD = {
    "button": "This page is too old. Open the link once more.",
    "letter": "This link is too old. Ask for the account to be looked at again.",
}
_LEAST_SECRET = 32  # characters
_BUTTON_SECONDS = 3600


class LinkRefused(Exception):  # noqa: N818  # an answer to the reader, not an error of ours
    """The link or its button can't be used; the text says why, to the reader, in English."""


@dataclass(frozen=True)
class LetterLink:
    """What a link stands for.

    Args:
        message: Id of the outbox's message that it came with; its recipient is who acts.
        episode: Id.
        action: What it does.
    """

    message: str
    episode: str
    action: ActionName


@dataclass(frozen=True)
class LinkSigner:
    """Signs and reads links.

    Args:
        settings: Where the pages are, and for how long links hold.
        secret: At least 32 characters, known to this installation alone.
    """

    settings: Links
    secret: str

    def list_actions(self, message: str, episode: str) -> tuple[Action, ...]:
        """Return the actions that a letter offers on an episode."""
        return tuple(
            Action(words, f"{self.settings.url.rstrip('/')}/act/{self.sign(LetterLink(message, episode, name))}")
            for name in get_args(ActionName)
            if (words := WORDS[name])
        )

    def sign(self, link: LetterLink) -> str:
        """Return the signed token of a link."""
        return self._get_serializer("letter").dumps([link.message, link.episode, link.action])

    def read(self, token: str) -> LetterLink:
        """Return what a token stands for.

        Raises:
            LinkRefused: It was not signed here, or is too old.
        """
        plain = self._load("letter", token, 86_400 * self.settings.days)
        if not (isinstance(plain, list) and len(plain) == 3 and plain[2] in get_args(ActionName)):
            raise LinkRefused("This link is not one of ours.")
        return LetterLink(*plain)

    def sign_button(self, token: str) -> str:
        """Return the token of the page's button: a scanner that posts to a link without its page has none."""
        return self._get_serializer("button").dumps(_digest(token))

    def check_button(self, token: str, button: str) -> None:
        """Check that a button was pressed on the page of this link, within an hour.

        Raises:
            LinkRefused: It was not.
        """
        if self._load("button", button, _BUTTON_SECONDS) != _digest(token):
            raise LinkRefused("This button belongs to another page.")

    def _load(self, purpose: str, token: str, seconds: int) -> object:
        try:
            return self._get_serializer(purpose).loads(token, max_age=seconds)
        except SignatureExpired:
            raise LinkRefused(_TOO_OLD[purpose]) from None
        except BadSignature:
            raise LinkRefused("This link is not one of ours, or not whole: copy all of it.") from None

    def _get_serializer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self.secret, salt=f"garrison.{purpose}", signer_kwargs={"digest_method": hashlib.sha256}
        )


def open_signer(settings: Links | None) -> LinkSigner | None:
    """Return the signer that the settings name; None where letters have no links.

    Raises:
        GarrisonError: The environment lacks the secret, or it is too short.
    """
    if settings is None:
        return None
    secret = os.environ.get(settings.secret_env, "")
    if len(secret) < _LEAST_SECRET:
        raise GarrisonError(
            "alerts.links.secret_env names an environment variable without a secret",
            found=f"{settings.secret_env} has {len(secret)} characters, not {_LEAST_SECRET}",
            hint="Set it, say to what this prints: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return LinkSigner(settings, secret)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
