import time

import pytest
from itsdangerous import TimestampSigner

from features.core.errors import GarrisonError
from features.settings.alerts import Links
from monitoring.letters.links import LetterLink, LinkRefused, LinkSigner, open_signer

SIGNER = LinkSigner(Links(url="https://garrison.example/"), "s" * 32)
LINK = LetterLink("message-1", "episode-1", "snooze")


def at(monkeypatch, seconds):
    now = int(time.time())
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now + seconds)


def test_a_link_says_what_was_signed():
    assert SIGNER.read(SIGNER.sign(LINK)) == LINK
    actions = SIGNER.list_actions("message-1", "episode-1")
    assert [a.words for a in actions] == ["I take care of it", "Snooze", "Saved", "False alarm"]
    assert {SIGNER.read(a.link.removeprefix("https://garrison.example/act/")).action for a in actions} == {
        "acknowledge",
        "snooze",
        "saved",
        "false-alarm",
    }


@pytest.mark.parametrize(
    "spoil", [lambda t: t[:-1], lambda t: "A" + t[1:], lambda t: t + "x", lambda _: "", str.swapcase]
)
def test_a_link_that_was_changed_is_refused(spoil):
    with pytest.raises(LinkRefused, match="not one of ours"):
        SIGNER.read(spoil(SIGNER.sign(LINK)))


def test_another_installations_link_and_a_button_as_a_link_are_refused():
    other = LinkSigner(SIGNER.settings, "o" * 32)
    for token in (other.sign(LINK), SIGNER.sign_button(SIGNER.sign(LINK))):
        with pytest.raises(LinkRefused):
            SIGNER.read(token)


def test_links_and_buttons_grow_old(monkeypatch):
    token = SIGNER.sign(LINK)
    button = SIGNER.sign_button(token)
    SIGNER.check_button(token, button)
    at(monkeypatch, 3601)
    with pytest.raises(LinkRefused, match="page is too old"):
        SIGNER.check_button(token, button)
    at(monkeypatch, 30 * 86_400 + 1)
    with pytest.raises(LinkRefused, match="link is too old"):
        SIGNER.read(token)


def test_a_button_belongs_to_its_page():
    with pytest.raises(LinkRefused, match="another page"):
        SIGNER.check_button(SIGNER.sign(LINK), SIGNER.sign_button("other"))


def test_a_secret_that_is_missing_or_short_is_an_error_with_the_way_out(monkeypatch):
    monkeypatch.delenv("GARRISON_LINK_SECRET", raising=False)
    for secret in (None, "short"):
        if secret:
            monkeypatch.setenv("GARRISON_LINK_SECRET", secret)
        with pytest.raises(GarrisonError, match="without a secret") as error:
            open_signer(SIGNER.settings)
        assert "secrets.token_urlsafe" in str(error.value)
        assert "short" not in str(error.value).replace("too short", "")
    assert open_signer(None) is None
