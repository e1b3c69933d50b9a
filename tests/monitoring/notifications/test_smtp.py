import ssl

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from features.core.errors import DeliveryError, GarrisonError
from features.settings import Email
from monitoring.notifications.email_message import OutgoingMessage, compose_email, parse_sender
from monitoring.notifications.smtp import EmailChannel
from tests.support.certificates import write_certificate

MESSAGE = OutgoingMessage("id-1", "ann@owners.test", "At risk", "body\n", 1_700_000_000_000_000)
USER, PASSWORD = "alerts@harbour.test", "p@ss:w/o rd?&#%41é"


def email_to(post, **rest):
    given = {"host": "localhost", "port": post.port, "sender": "alerts@harbour.test", "security": "none"}
    return Email.model_validate({**given, **rest})


def send(email):
    mail = EmailChannel(email)
    try:
        mail.prepare(MESSAGE)
        mail.transfer(MESSAGE)
        mail.commit(MESSAGE)
    finally:
        mail.close()


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """For localhost; this process trusts it."""
    file, key_file = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return context


@pytest.fixture
def restarted(post):
    """Start the server anew, with aiosmtpd's options."""

    def start(**options):
        post.stop()
        post._server = Controller(post, hostname="127.0.0.1", port=post.port, **options)
        post._server.start()
        return post

    return start


def test_starttls_is_used_where_the_settings_say_so(restarted, certificate):
    post = restarted(tls_context=certificate, require_starttls=True)
    send(email_to(post, security="starttls"))
    assert post.recipients == ["ann@owners.test"]


def test_tls_from_the_first_byte_is_used_where_the_settings_say_so(restarted, certificate):
    post = restarted(ssl_context=certificate)
    send(email_to(post, security="tls"))
    assert post.recipients == ["ann@owners.test"]


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(restarted, certificate, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    post = restarted(tls_context=certificate)
    with pytest.raises(DeliveryError, match="certificate"):
        send(email_to(post, security="starttls"))
    assert post.received == []


def test_a_server_without_starttls_gets_nothing_in_the_clear(post):
    with pytest.raises(DeliveryError, match=r"localhost.*starttls"):
        send(email_to(post, security="starttls"))
    assert post.received == []


def test_user_and_password_come_from_the_environment_whatever_is_in_them(restarted, monkeypatch):
    seen = []

    def authenticate(_server, _session, _envelope, _mechanism, data):
        seen.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=True)

    post = restarted(authenticator=authenticate, auth_required=True, auth_require_tls=False)
    monkeypatch.setenv("MAIL_USER", USER)
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD.replace("é", ""))
    send(email_to(post, user_env="MAIL_USER", password_env="MAIL_PASSWORD"))
    assert post.recipients == ["ann@owners.test"]
    assert seen == [(USER, PASSWORD.replace("é", ""))]


def test_a_wrong_password_is_an_error_that_does_not_show_it(restarted, monkeypatch):
    post = restarted(
        authenticator=lambda *_: AuthResult(success=False, handled=False), auth_required=True, auth_require_tls=False
    )
    monkeypatch.setenv("MAIL_USER", USER)
    monkeypatch.setenv("MAIL_PASSWORD", "hunter2")
    with pytest.raises(DeliveryError, match=f"localhost:{post.port} refuses the user and password") as caught:
        send(email_to(post, user_env="MAIL_USER", password_env="MAIL_PASSWORD"))
    assert "hunter2" not in str(caught.value)
    assert USER not in str(caught.value)


def test_credentials_that_are_not_set_are_named(post, monkeypatch):
    monkeypatch.delenv("MAIL_USER", raising=False)
    with pytest.raises(GarrisonError, match=r"alerts\.email\.user_env.*MAIL_USER"):
        send(email_to(post, user_env="MAIL_USER", password_env="MAIL_PASSWORD"))
    monkeypatch.setenv("MAIL_USER", USER)
    with pytest.raises(GarrisonError, match="only one of"):
        send(email_to(post, user_env="MAIL_USER"))


def test_one_session_serves_several_messages(post):
    mail = EmailChannel(email_to(post))
    for _ in range(3):
        mail.prepare(MESSAGE)
        mail.transfer(MESSAGE)
        mail.commit(MESSAGE)
    mail.close()
    assert len(post.received) == 3


def test_a_message_prepared_and_not_committed_reaches_nobody(post):
    mail = EmailChannel(email_to(post))
    mail.prepare(MESSAGE)
    mail.transfer(MESSAGE)
    mail.close()
    mail.prepare(MESSAGE)
    mail.transfer(MESSAGE)
    mail.commit(MESSAGE)
    mail.close()
    assert len(post.received) == 1


@pytest.mark.parametrize("sender", ["alerts", "a@x.test, b@x.test", "a@x.test\nBcc: b@x.test", ""])
def test_a_sender_that_is_no_address_is_an_error_that_names_the_key(sender):
    with pytest.raises(GarrisonError, match=r"alerts\.email\.sender"):
        parse_sender(sender)


def test_the_same_message_is_composed_to_the_same_bytes():
    assert compose_email(MESSAGE, "alerts@harbour.test") == compose_email(MESSAGE, "alerts@harbour.test")
