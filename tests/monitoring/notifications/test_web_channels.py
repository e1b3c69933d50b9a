import base64
import hashlib
import hmac
import re
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from features.core.errors import DeliveryError, GarrisonError
from features.settings.channels import ChatChannel, Webhook
from features.state.tables import OUTBOX
from monitoring.notifications import outbox, web_channels, web_request
from monitoring.notifications.email_message import AnswerUnknown, MessageRefused, OutgoingMessage
from tests.support.certificates import write_certificate
from tests.support.fake_server import Answer, FakeServer
from tests.support.outbox_rows import write_messages

FAR = 4_000_000_000_000_000  # µs: later than any message here is created
MINUTE = 60_000_000
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
NASTY = "<!channel> & <https://evil.test|prize> @here *bold* \u202egnp.exe"
MESSAGE = OutgoingMessage("id-1", "ann@owners.test", f"At risk: {NASTY}", f"{NASTY}\nline\n", 1, kind="opened")


class Hook(FakeServer):
    """Takes every request, or answers as `answers` says, one after the other."""

    def __init__(self):
        super().__init__()
        self.requests, self.answers = [], []

    def handle(self, request):
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else Answer(200, b"ok")


@pytest.fixture
def hook(monkeypatch):
    with Hook() as server:
        monkeypatch.setenv("HOOK_URL", f"{server.url}/services/T0/B0?x=1")
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        yield server


def webhook(**rest):
    given = {"url_env": "HOOK_URL", "secret_env": "HOOK_SECRET", "allow_private": True, **rest}
    return {key: value for key, value in given.items() if value is not None}


def chat(**rest):
    return {"url_env": "HOOK_URL", "allow_private": True, **rest}


def send(channel, message=MESSAGE):
    try:
        channel.prepare(message)
        channel.transfer(message)
        channel.commit(message)
    finally:
        channel.close()


def open_hook(**rest):
    return web_channels.open_webhook(Webhook.model_validate(webhook(**rest)))


def deliver(company, now=None):
    return outbox.deliver(company.settings, company.state, now=now)


def test_a_webhook_is_signed_so_that_its_receiver_can_verify_it(hook):
    send(open_hook())
    [request] = hook.requests
    assert str(request) == "POST /services/T0/B0?x=1"
    timestamp, signature = request.headers["webhook-timestamp"], request.headers["webhook-signature"]
    signed = b".".join((request.headers["webhook-id"].encode(), timestamp.encode(), request.body))
    expected = hmac.new(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert signature == "v1," + base64.b64encode(expected).decode()
    assert abs(int(timestamp) - time.time()) < 60
    assert request.headers["webhook-id"] == request.headers["Idempotency-Key"] == "id-1"
    assert request.json["data"]["recipient"] == "ann@owners.test"
    assert "\u202e" not in request.body.decode()


@pytest.mark.parametrize("secret", ["whsec_###", "whsec_aGk=", "short", ""])
def test_a_secret_that_protects_nothing_is_refused(hook, monkeypatch, secret):
    monkeypatch.setenv("HOOK_SECRET", secret)
    with pytest.raises(GarrisonError, match=r"secret"):
        open_hook()
    assert hook.requests == []


def test_the_documents_own_code_verifies_a_webhook_and_no_other(hook):
    text = (Path(__file__).parents[3] / "docs/alerts.md").read_text(encoding="utf-8")
    documented = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], documented)  # noqa: S102  # our own document
    send(open_hook())
    [request] = hook.requests
    assert documented["is_genuine"](request.headers, request.body, SECRET)
    assert not documented["is_genuine"](request.headers, request.body + b" ", SECRET)
    assert not documented["is_genuine"](request.headers, request.body, SECRET[:-4] + "AAA=")
    request.headers.replace_header("webhook-timestamp", str(int(time.time()) - 301))
    assert not documented["is_genuine"](request.headers, request.body, SECRET)


def test_slack_gets_plain_text_that_no_name_turns_into_markup(hook):
    send(web_channels.open_chat("slack", ChatChannel.model_validate(chat())))
    [request] = hook.requests
    assert request.json["text"].startswith("At risk: &lt;!channel&gt; &amp; &lt;https://evil.test|prize&gt;")
    texts = [block["text"] for block in request.json["blocks"]]
    assert {text["type"] for text in texts} == {"plain_text"}
    assert "evil.test" not in texts[1]["text"]
    assert "\u202e" not in request.body.decode()
    assert (request.json["unfurl_links"], request.json["mrkdwn"]) == (False, False)


def test_teams_gets_a_card_of_text_runs(hook):
    send(web_channels.open_chat("teams", ChatChannel.model_validate(chat())))
    [attachment] = hook.requests[0].json["attachments"]
    runs = [run for block in attachment["content"]["body"] for run in block["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert [run["text"] for run in runs][-1] == "line"


@pytest.mark.parametrize("name", ["slack", "teams"])
def test_long_names_are_cut_to_what_a_chat_takes(hook, name):
    long = OutgoingMessage("id-2", "a@b.test", "界" * 10_000, "界" * 10_000 + "\n" + "x\n" * 5_000, 1)
    send(web_channels.open_chat(name, ChatChannel.model_validate(chat())), long)
    [request] = hook.requests
    assert len(request.body) < 28_000 + 20_000 * (name == "slack")
    if name == "slack":
        texts = [block["text"]["text"] for block in request.json["blocks"]]
        assert len(texts[0]) <= 150
        assert all(0 < len(text) <= 3_000 for text in texts)


@pytest.mark.parametrize("status", [400, 413, 422, 500, 502, 503, 408, 429])
def test_what_a_webhook_refuses_is_refused_for_good_or_for_now(hook, status):
    hook.answers = [Answer(status, b"no, <ann@owners.test>\r\nForged: x", {"Retry-After": "7"})]
    with pytest.raises(MessageRefused, match=rf"^webhook said {status} no, <the owner> Forged: x$") as caught:
        send(open_hook())
    assert caught.value.is_permanent == (status in {400, 413, 422})
    assert caught.value.retry_after == (7 if status in {429, 503} else None)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 410])
def test_a_redirect_is_not_followed_and_a_lost_url_is_said_without_it(hook, status):
    with Hook() as private:
        hook.answers = [Answer(status, b"", {"Location": f"{private.url}/latest/meta-data"})]
        with pytest.raises(DeliveryError, match=rf"webhook takes no messages.*status {status}") as caught:
            send(open_hook())
    assert private.requests == []
    assert "services" not in str(caught.value)


def test_retry_after_may_be_a_date_and_is_bounded():
    def pause(status, text):
        return web_channels.read_pause(web_request.WebAnswer(status, text, ""))

    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < pause(429, soon) <= 100
    assert [pause(429, text) for text in ("9" * 40, "-5", "soon", None, "0")] == [86_400, 60, 60, 60, 1]
    assert (pause(503, None), pause(500, "7")) == (None, None)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),  # noqa: S104
        *("::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "::"),
    ],
)
def test_an_address_that_is_not_public_is_refused_before_anything_is_sent(hook, monkeypatch, address):
    assert not web_request.is_allowed(address, allow_private=False)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 443)) for a in ("93.184.216.34", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises(DeliveryError, match="address that nothing may be posted to"):
        send(open_hook(url_env=None, url="https://hooks.example.test/x", allow_private=False))
    assert hook.requests == []


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1"])
def test_a_public_address_is_allowed(address):
    assert web_request.is_allowed(address, allow_private=False)


def test_the_connection_goes_to_the_very_address_that_was_checked(hook, monkeypatch):
    asked = []
    answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **_: asked.append(a[0]) or next(answers))
    connect = socket.socket.connect
    seen = []
    monkeypatch.setattr(socket, "create_connection", lambda address, timeout: _connect(connect, seen, address, timeout))
    port = int(hook.url.rpartition(":")[2])
    monkeypatch.setenv("HOOK_URL", f"http://localhost:{port}/x")
    send(open_hook())
    assert (asked, seen) == (["localhost"], [("127.0.0.1", port)])
    assert hook.requests[0].headers["Host"] == f"localhost:{port}"


def _connect(connect, seen, address, timeout):
    seen.append(address)
    made = socket.socket()
    made.settimeout(timeout)
    connect(made, address)
    return made


@pytest.mark.parametrize(
    "url", ["http://hooks.example.test/x", "ftp://x.test/", "https://u:p@x.test/", "https:///x", "https://x.test/#f"]
)
def test_a_url_that_would_not_be_safe_is_refused_without_showing_it(monkeypatch, url):
    monkeypatch.setenv("HOOK_URL", url)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    with pytest.raises(GarrisonError, match=r"HOOK_URL, which alerts\.webhook\.url_env names") as caught:
        open_hook()
    assert url not in str(caught.value)


def test_a_wrong_certificate_gets_nothing(certificate_of_nobody, monkeypatch):
    server, port, received = certificate_of_nobody
    monkeypatch.setenv("HOOK_URL", f"https://localhost:{port}/x")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    with server, pytest.raises(DeliveryError, match="certificate is not one to trust"):
        send(open_hook())
    assert received == []


@pytest.fixture
def certificate_of_nobody(tmp_path):
    """A TLS server on localhost whose certificate nobody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificate(tmp_path))
    listener, received = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        try:
            plain, _ = listener.accept()
            with context.wrap_socket(plain, server_side=True) as secure:
                received.append(secure.recv(10))
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    return listener, listener.getsockname()[1], received


@pytest.mark.parametrize(("when", "error"), [("body", MessageRefused), ("answer", AnswerUnknown)])
def test_a_connection_lost_before_the_last_byte_is_a_refusal_and_after_it_a_doubt(monkeypatch, when, error):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{listener.getsockname()[1]}/")
        channel = web_channels.open_chat("slack", ChatChannel.model_validate(chat()))
        channel.prepare(MESSAGE)
        there, _ = listener.accept()
        channel.transfer(MESSAGE)
        if when == "body":
            channel._request._connection.sock.shutdown(socket.SHUT_RDWR)
        else:
            there.recv(65_536)
        there.close()
        with pytest.raises(error):
            channel.commit(MESSAGE)
        channel.close()


def test_a_server_that_answers_byte_by_byte_is_cut_off(monkeypatch):
    monkeypatch.setattr(web_request, "_PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{listener.getsockname()[1]}/")

        def drip():
            there, _ = listener.accept()
            with there:
                try:
                    while True:
                        there.send(b"H")
                        time.sleep(0.05)
                except OSError:
                    pass

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(AnswerUnknown):
            send(web_channels.open_chat("slack", ChatChannel.model_validate(chat())))
        assert time.monotonic() - began < 10


def test_each_channel_gets_what_its_kinds_and_recipients_name_and_nothing_twice(any_company, post, hook):
    any_company.mail_to(post, per_minute=1000)
    any_company.configure(slack=chat(recipients=["A@owners.test"]), webhook=webhook(kinds=["opened", "held"]))
    any_company.configure(teams=chat(kinds=["service_failure"]))
    write_messages(any_company.state, "AB")
    assert deliver(any_company).sent == 5
    assert deliver(any_company).sent == 0
    assert post.recipients == ["a@owners.test", "b@owners.test"]
    assert len(hook.requests) == 3
    assert any_company.rows(OUTBOX, "channel", "state").count(("webhook", "sent")) == 2
    assert {r.json["data"]["account_id"] for r in hook.requests if "webhook-id" in r.headers} == {"A", "B"}


def test_a_channel_may_take_messages_in_place_of_email_and_one_no_longer_set_gives_them_back(company, post, hook):
    company.mail_to(post)
    company.configure(slack=chat(kinds=["opened"], instead=True))
    write_messages(company.state, "A")
    hook.answers = [Answer(500, b"")]
    assert (deliver(company, FAR).refused, post.recipients) == (1, [])
    company.configure(slack=None)
    assert deliver(company, 2 * FAR).sent == 1
    assert post.recipients == ["a@owners.test"]


def test_a_copy_for_a_channel_no_longer_set_is_not_told_by_another(company, post, hook):
    company.mail_to(post)
    company.configure(slack=chat())
    write_messages(company.state, "A")
    hook.answers = [Answer(500, b"")]
    assert deliver(company, FAR).sent == 1
    company.configure(slack=None)
    assert (deliver(company, 2 * FAR).waiting, post.recipients) == (0, ["a@owners.test"])
    assert ("expired", "its channel is no longer set") in company.rows(OUTBOX, "state", "reason")


def test_a_channel_that_asks_for_a_pause_gets_no_message_before_it_is_over(company, post, hook):
    company.mail_to(post)
    company.configure(webhook=webhook(instead=True))
    write_messages(company.state, "ABC")
    hook.answers = [Answer(200, b""), Answer(429, b"", {"Retry-After": "600"})]
    result = deliver(company, FAR)
    assert (result.sent, result.refused, result.waiting, len(hook.requests)) == (1, 1, 2, 2)
    assert deliver(company, FAR + 10 * MINUTE - 1).sent == 0
    assert deliver(company, FAR + 30 * MINUTE).sent == 2


def test_one_channel_in_trouble_does_not_hold_up_the_others(company, post, hook):
    company.mail_to(post)
    company.configure(slack=chat(), webhook=webhook(url_env=None, url="http://localhost:1/"))
    write_messages(company.state, "AB")
    with pytest.raises(DeliveryError, match="channel webhook takes no messages: it can't be reached"):
        deliver(company)
    assert (len(post.received), len(hook.requests)) == (2, 2)
    assert max(company.rows(OUTBOX, "channel", "state", "attempts")) == ("webhook", "pending", 0)


def test_a_limited_channel_begins_so_many_a_minute_of_all_processes_together(any_company, post):
    any_company.mail_to(post, per_minute=2)
    write_messages(any_company.state, "ABCDE")
    assert [deliver(any_company, FAR).sent for _ in range(2)] == [2, 0]
    assert [deliver(any_company, FAR + n * MINUTE).sent for n in (1, 2, 3)] == [2, 1, 0]


def test_one_delivery_waits_for_its_channels_limit(company, post, monkeypatch):
    from monitoring.notifications import claims

    monkeypatch.setattr(claims, "MINUTE", 300_000)  # 0.3 s
    company.mail_to(post, per_minute=2)
    write_messages(company.state, "ABC")
    began = time.monotonic()
    assert deliver(company).sent == 3
    assert time.monotonic() - began > 0.25


def test_a_message_waits_for_its_hour_and_is_dropped_when_it_is_out_of_date(company, post):
    company.mail_to(post)
    write_messages(company.state, "AB")
    first, second = (row[0] for row in company.rows(OUTBOX, "id"))
    with company.state.writing() as connection:
        late = sa.update(OUTBOX).where(OUTBOX.c.id == first).values(deliver_after=FAR + 1)
        connection.execute(late)
        connection.execute(sa.update(OUTBOX).where(OUTBOX.c.id == second).values(expires_at=FAR))
    assert deliver(company, FAR).sent == 0
    assert deliver(company, FAR + 1).sent == 1
    assert sorted(state for (state,) in company.rows(OUTBOX, "state")) == ["expired", "sent"]


def test_html_goes_beside_the_text_as_the_same_bytes_each_time():
    import email
    from email import policy

    from monitoring.notifications.email_message import compose_email

    message = OutgoingMessage("id-3", "a@b.test", "s\r\nBcc: x@y.test", "text\n", 1, html="<p>déjà</p>")
    content = compose_email(message, "alerts@harbour.test")
    assert content == compose_email(message, "alerts@harbour.test")
    mail = email.message_from_bytes(content, policy=policy.default)
    assert (mail["Subject"], mail["Bcc"]) == ("s Bcc: x@y.test", None)
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content().strip() for part in mail.iter_parts()] == ["text", "<p>déjà</p>"]
