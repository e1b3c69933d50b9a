import smtplib
import socket
import sys

import pytest

from features.core.errors import GarrisonError
from monitoring.demo import mailbox


def send(port, to, subject):
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as smtp:
        smtp.sendmail("a@x.test", to, f"Subject: {subject}\r\n\r\nbody\r\n.dotted\r\n")


def test_every_message_is_saved_and_told_in_one_line(tmp_path, free_port):
    lines = []
    with mailbox.open_mailbox(free_port, tmp_path / "mail", lines.append):
        send(free_port, ["ann@x.test"], "first")
        send(free_port, ["bob@x.test", "cid@x.test"], "second")
    assert lines == ["0001.eml to ann@x.test: first", "0002.eml to bob@x.test, cid@x.test: second"]
    assert (tmp_path / "mail" / "0001.eml").read_bytes() == b"Subject: first\r\n\r\nbody\r\n.dotted\r\n"


def test_messages_of_an_earlier_run_are_kept(tmp_path, free_port):
    for subject in ("first", "second"):
        with mailbox.open_mailbox(free_port, tmp_path, lambda _: None):
            send(free_port, ["ann@x.test"], subject)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["0001.eml", "0002.eml"]


def test_a_subject_can_not_break_the_line(tmp_path, free_port):
    lines = []
    with mailbox.open_mailbox(free_port, tmp_path, lines.append):
        send(free_port, ["ann@x.test"], "=?utf-8?q?a=0Ab=1B[31m?=")
    assert lines == ["0001.eml to ann@x.test: a b [31m"]


def test_a_taken_port_is_a_clear_error(tmp_path, free_port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with pytest.raises(GarrisonError, match=f"can't open on 127.0.0.1:{free_port}"):
            mailbox.serve(free_port, tmp_path, 0, lambda _: None)


def test_without_aiosmtpd_the_error_says_what_to_install(tmp_path, free_port, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiosmtpd.controller", None)
    with pytest.raises(GarrisonError, match="needs aiosmtpd"):
        mailbox.serve(free_port, tmp_path, 0, lambda _: None)


def test_it_stops_when_its_time_is_up(tmp_path, free_port):
    lines = []
    mailbox.serve(free_port, tmp_path, 0.1, lines.append)
    assert lines == [f"taking mail on 127.0.0.1:{free_port}, into {tmp_path}"]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", free_port)):
        pass
