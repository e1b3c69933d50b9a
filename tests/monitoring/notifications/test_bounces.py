import datetime as dt
from email.utils import format_datetime

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from features.state.tables import OUTBOX
from monitoring.__main__ import app
from tests.support.outbox_rows import write_messages

SENT_AT = 1_700_000_000_000_000
AT = dt.datetime(2023, 11, 15, tzinfo=dt.UTC)  # a day after SENT_AT

BOUNCE = """\
From: MAILER-DAEMON@mx.owners.test
To: alerts@harbour.test
Date: {date}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.owners.test

Final-Recipient: rfc822; {recipient}
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <{recipient}> unknown

--b
Content-Type: {original}

Message-ID: <{message}@{domain}>
Subject: At risk

--b--
"""
USUAL = {
    "date": format_datetime(AT),
    "recipient": "A@owners.test",
    "action": "failed",
    "original": "text/rfc822-headers",
    "message": "m-A",
    "domain": "harbour.test",
}


@pytest.fixture
def sent(company, post):
    """One message was sent to a@owners.test."""
    company.mail_to(post)
    company.configure(fallback_owner="desk@owners.test")
    write_messages(company.state, "A", state="sent", channel="email", sent_at=SENT_AT)
    return company


def read(company, file, **given):
    file.write_text(BOUNCE.format(**USUAL | given))
    done = CliRunner().invoke(app, ["deliver", "--bounce", str(file), "--config", str(company.file)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("original", ["text/rfc822-headers", "message/rfc822"])
def test_a_bounce_marks_its_message_and_the_fallback_owner_gets_the_text_once(sent, post, tmp_path, original):
    out = read(sent, tmp_path / "b.eml", original=original)
    assert "message m-A bounced with 5.1.1: 550 5.1.1" in out
    assert "bounced: m-A, account A: bounced with 5.1.1" in out
    assert "deliver --resend m-A --to ADDRESS" in out
    [(recipients, content)] = post.received
    assert recipients == ["desk@owners.test"]
    assert b"A is at risk." in content
    assert b"--resend m-A" in content
    assert "m-A is bounced, nothing changed" in read(sent, tmp_path / "b.eml")
    assert len(post.received) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"action": "delayed"}, "is late and still tried"),
        ({"message": "m-other"}, "of no message of ours"),
        ({"domain": "evil.test"}, "of no message of ours"),
        ({"recipient": "b@owners.test"}, "bounced from another address"),
        ({"date": format_datetime(AT - dt.timedelta(days=3))}, "was sent again since"),
    ],
)
def test_what_says_nothing_about_the_message_as_it_stands_changes_nothing(sent, post, tmp_path, given, said):
    assert f"{said}, nothing changed" in read(sent, tmp_path / "b.eml", **given)
    assert (sent.rows(OUTBOX, "state"), post.received) == ([("sent",)], [])


@pytest.mark.parametrize("content", [b"", b"Subject: out of office\n\nBack on Monday.\n", b"\xff\xfe\x00", None])
def test_a_file_that_is_no_bounce_is_said_to_be_none_and_a_folder_goes_on(sent, tmp_path, content):
    file = tmp_path / "letters.d" / "1.eml"
    file.parent.mkdir()
    if content is not None:
        file.write_bytes(content)
    done = CliRunner().invoke(app, ["deliver", "--bounce", str(file), "--config", str(sent.file)])
    assert done.exit_code == 1
    assert ("is no bounce" if content is not None else "can't be read") in str(done.exception)
    assert "m-A bounced" not in done.output
    file.write_bytes(b"nothing")
    (file.parent / "2.eml").write_text(BOUNCE.format(**USUAL))
    done = CliRunner().invoke(app, ["deliver", "--bounce", str(file.parent), "--config", str(sent.file)])
    assert "1.eml: " in done.output
    assert "message m-A bounced" in done.output


def test_a_dead_letter_goes_to_the_fallback_and_not_in_a_circle(company, post):
    from monitoring.notifications import outbox

    far = 4_000_000_000_000_000
    company.mail_to(post)
    company.configure(fallback_owner="desk@owners.test")
    write_messages(company.state, "A")
    post.answers["RCPT"] = "550 no such mailbox"
    for n in range(8):
        outbox.deliver(company.settings, company.state, now=far + n * 10**14)
    with company.state.reading() as connection:
        rows = connection.execute(sa.select(OUTBOX.c.kind, OUTBOX.c.state, OUTBOX.c.recipient)).all()
    assert sorted(rows) == [("opened", "failed", "a@owners.test"), ("undelivered", "failed", "desk@owners.test")]
