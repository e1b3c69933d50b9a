import email
import threading
from concurrent.futures import ThreadPoolExecutor
from email import policy

import pytest
import sqlalchemy as sa

from features.core.errors import DeliveryError, GarrisonError
from features.state import database
from features.state.locks import Lock, try_lock
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring import cli_output
from monitoring.notifications import channels, claims, dead_letters, outbox
from serving.events.log import store_events
from tests.support.outbox_rows import write_messages

MINUTE = 60_000_000
UNTOUCHED = [c.name for c in OUTBOX.c if c.name != "channel"]
FAR = 4_000_000_000_000_000  # µs: later than any message here is created


def written(company, accounts, **columns):
    """Let one message about each account wait in the outbox."""
    return write_messages(company.state, accounts, **columns)


def states(company):
    query = sa.select(OUTBOX.c.recipient, OUTBOX.c.state, OUTBOX.c.attempts)
    with company.state.reading() as connection:
        return {row.recipient: (row.state, row.attempts) for row in connection.execute(query)}


def only_id(company):
    [(message,)] = company.rows(OUTBOX, "id")
    return message


def deliver(company, now=None):
    return outbox.deliver(company.settings, company.state, now=now)


def test_each_message_is_sent_once_and_marked_so(any_company, post):
    any_company.mail_to(post)
    written(any_company, "AB")
    assert deliver(any_company).sent == 2
    assert deliver(any_company).sent == 0
    assert post.recipients == ["a@owners.test", "b@owners.test"]
    assert set(states(any_company).values()) == {("sent", 1)}
    assert all(at > 0 for (at,) in any_company.rows(OUTBOX, "sent_at"))


def test_episodes_that_a_sent_message_told_of_are_notified_in_the_same_transaction(any_company, post):
    any_company.mail_to(post)
    written(any_company, "ABC")
    with any_company.state.writing() as connection:  # the message about A is a digest that lists C too
        connection.execute(sa.update(EPISODES).where(EPISODES.c.account_id == "C").values(message_id="m-A"))
        connection.execute(sa.update(OUTBOX).where(OUTBOX.c.id != "m-A").values(state="withheld"))
    assert deliver(any_company, FAR).sent == 1
    told = [("A", "notified"), ("B", "open"), ("C", "notified")]
    assert any_company.rows(EPISODES, "account_id", "state") == told
    assert any_company.rows(EPISODE_EVENTS, "episode_id", "event") == [("e-A", "notified"), ("e-C", "notified")]


def test_the_most_at_stake_is_sent_first(company, post):
    company.mail_to(post)
    written(company, "BCA")
    deliver(company)
    assert [to for to, _ in post.received] == [["b@owners.test"], ["c@owners.test"], ["a@owners.test"]]


def test_the_mail_is_whole_and_names_the_outbox_row(company, post):
    company.mail_to(post)
    name = "Åkermann & Söhne"
    written(company, "A", subject=f"At risk: {name}", body=f"{name} is at risk.\nWhy:\n  1. usage fell\n")
    deliver(company)
    [(recipients, content)] = post.received
    mail = email.message_from_bytes(content, policy=policy.default)
    assert recipients == ["a@owners.test"]
    assert mail["To"] == "a@owners.test"
    assert mail["From"] == "Garrison <alerts@harbour.test>"
    assert mail["Subject"] == f"At risk: {name}"
    assert mail.get_all("Message-ID") == [f"<{only_id(company)}@harbour.test>"]
    assert [(mail.get_content().replace("\r\n", "\n"),)] == company.rows(OUTBOX, "body")
    assert content.isascii()


def test_a_line_that_begins_with_a_dot_arrives_as_it_is(company, post):
    company.mail_to(post)
    written(company, "A", body="first\n.\n..two\n.QUIT\nlast\n")
    deliver(company)
    mail = email.message_from_bytes(post.received[0][1], policy=policy.default)
    assert mail.get_content().splitlines() == ["first", ".", "..two", ".QUIT", "last"]


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
@pytest.mark.parametrize("answer", ["451 not now", "550 no such mailbox"])
def test_a_refused_message_is_tried_again_later_and_not_before(company, post, command, answer):
    company.mail_to(post)
    written(company, "A")
    post.answers[command] = answer
    result = deliver(company, FAR)
    assert (result.sent, result.refused, result.waiting) == (0, 1, 1)
    [(state, attempts, again)] = company.rows(OUTBOX, "state", "attempts", "next_try_at")
    assert (state, attempts) == ("pending", 1)
    assert FAR + 5 * MINUTE <= again <= FAR + 6.25 * MINUTE
    post.answers.clear()
    assert deliver(company, again - 1).sent == 0
    assert deliver(company, again).sent == 1
    assert states(company) == {"a@owners.test": ("sent", 2)}


def test_one_refused_recipient_does_not_hold_up_the_others(company, post):
    company.mail_to(post)
    written(company, "ABC")

    async def answer(_server, address):
        return "550 no such mailbox" if address.startswith("b") else "250 OK"

    post.answers["RCPT"] = answer
    assert deliver(company).sent == 2
    assert post.recipients == ["a@owners.test", "c@owners.test"]


def test_a_refusal_is_kept_without_the_recipient(company, post):
    company.mail_to(post)
    written(company, "A")
    post.answers["RCPT"] = "550 <a@owners.test> is unknown here"
    deliver(company)
    assert company.rows(OUTBOX, "reason") == [("the server said 550 <the owner> is unknown here",)]


@pytest.mark.parametrize(("answer", "tries"), [("451 not now", 8), ("550 no such mailbox", 3)])
def test_after_so_many_refusals_a_message_is_a_dead_letter_and_says_so(company, post, answer, tries):
    company.mail_to(post)
    written(company, "A")
    post.answers["RCPT"] = answer
    for n in range(tries):
        assert states(company) == {"a@owners.test": ("pending", n)}
        result = deliver(company, FAR + n * 10**15)
    assert states(company) == {"a@owners.test": ("failed", tries)}
    assert [(s.state, s.account_id) for s in result.needs_attention] == [("failed", "A")]
    post.answers.clear()
    assert deliver(company, 2 * FAR * 8).sent == 0


def test_a_connection_dropped_before_the_message_leaves_it_pending_and_the_rest_goes_on(company, post):
    company.mail_to(post)
    written(company, "ABC")

    async def drop(server, address):
        if address.startswith("a"):
            server.transport.abort()
        return "250 OK"

    post.answers["RCPT"] = drop
    assert deliver(company).sent == 2
    assert states(company)["a@owners.test"] == ("pending", 1)
    post.answers.clear()
    assert deliver(company, FAR).sent == 1
    assert post.recipients == ["a@owners.test", "b@owners.test", "c@owners.test"]


def lose_the_answer(post):
    """The server takes a message, and the connection breaks before it says so."""

    async def drop(server, address):
        post.received.append(([address], server.envelope.original_content))
        server.transport.abort()
        return "450 nobody hears this"

    post.answers["DATA"] = drop


def test_a_message_whose_answer_was_lost_is_sent_once_more_with_the_same_id_and_counted(any_company, post):
    any_company.mail_to(post)
    written(any_company, "A")
    lose_the_answer(post)
    result = deliver(any_company, FAR)
    assert (result.sent, result.refused, result.doubtful, result.needs_attention) == (0, 0, 1, ())
    assert any_company.rows(OUTBOX, "state", "doubts") == [("pending", 1)]
    post.answers.clear()
    assert deliver(any_company, 2 * FAR).sent == 1
    first, second = (email.message_from_bytes(content) for _, content in post.received)
    assert first["Message-ID"] == second["Message-ID"]
    assert any_company.rows(OUTBOX, "state", "doubts", "attempts") == [("sent", 1, 2)]


def test_an_answer_lost_twice_makes_a_dead_letter_that_a_person_can_settle_either_way(company, post):
    company.mail_to(post)
    written(company, "A")
    with pytest.raises(GarrisonError, match="not a dead letter"):
        dead_letters.mark_arrived(company.state, only_id(company))
    lose_the_answer(post)
    deliver(company, FAR)
    result = deliver(company, 2 * FAR)
    assert len(post.received) == 2
    assert [(s.state, s.doubts) for s in result.needs_attention] == [("failed", 2)]
    lines = "\n".join(cli_output.format_delivery(result))
    assert f"it may have arrived: ask, then `deliver --arrived {only_id(company)}` or `deliver --resend" in lines
    dead_letters.mark_arrived(company.state, only_id(company))
    assert deliver(company, 3 * FAR).needs_attention == ()
    with company.state.writing() as connection:
        connection.execute(sa.update(OUTBOX).values(state="failed"))
    post.answers.clear()
    dead_letters.resend(company.state, only_id(company))
    assert deliver(company, 3 * FAR).sent == 1
    assert len({email.message_from_bytes(content)["Message-ID"] for _, content in post.received}) == 1


@pytest.mark.parametrize(("phase", "doubts"), [(None, 0), ("announced", 0), ("final", 1)])
@pytest.mark.parametrize("is_expired", [False, True])
def test_what_a_deliverer_left_behind_is_sent_by_the_next_one(any_company, post, phase, doubts, is_expired):
    any_company.mail_to(post)
    written(any_company, "A")
    left = {"state": "sending", "channel": "email", "phase": phase, "claimed_by": "3:gone"}
    with any_company.state.writing() as connection:
        until = FAR if is_expired else FAR + claims.CLAIM
        connection.execute(sa.update(OUTBOX).values(**left, claimed_until=until))
    with try_lock(any_company.state.engine, Lock.DELIVER, of="3") as mine:  # its seat, as if it were still alive
        assert mine
        result = deliver(any_company, FAR)
        assert (result.sent, result.doubtful) == ((1, doubts) if is_expired else (0, 0))
    if not is_expired:
        assert deliver(any_company, FAR).sent == 1
    assert any_company.rows(OUTBOX, "state", "doubts", "claimed_by", "phase") == [("sent", doubts, None, None)]
    assert post.recipients == ["a@owners.test"]


def test_without_a_server_the_error_names_host_and_port_and_all_stays_pending(any_company, post):
    any_company.mail_to(post)
    post.stop()
    written(any_company, "AB")
    before = any_company.rows(OUTBOX, *UNTOUCHED)
    with pytest.raises(DeliveryError, match=f"127.0.0.1:{post.port}.*stay in the outbox"):
        deliver(any_company)
    assert any_company.rows(OUTBOX, *UNTOUCHED) == before


def test_a_server_that_goes_away_midway_leaves_the_rest_pending(company, post):
    company.mail_to(post)
    written(company, "ABC")

    async def refuse_and_close(server, address):
        if address.startswith("b"):
            post._server.server.close()
            server.transport.abort()
        return "250 OK"

    post.answers["RCPT"] = refuse_and_close
    with pytest.raises(DeliveryError):
        deliver(company)
    assert [s for s, _ in states(company).values()].count("sent") == 1
    assert states(company)["c@owners.test"] == ("pending", 0)


def test_nothing_due_asks_for_no_server(company, post):
    company.mail_to(post)
    post.stop()
    assert deliver(company).sent == 0


def test_withheld_and_undeliverable_messages_are_counted_and_sent_on_request_alone(company, post):
    company.mail_to(post)
    written(company, "A")
    written(company, "B", state="withheld", reason="over the cap")
    written(company, "C", state="undeliverable", reason="it has no owner", recipient=None)
    result = deliver(company)
    assert (result.sent, result.withheld, [s.state for s in result.needs_attention]) == (1, 1, ["undeliverable"])
    nobody = result.needs_attention[0].id
    with pytest.raises(GarrisonError, match=r"no recipient.*--to"):
        dead_letters.resend(company.state, nobody)
    with pytest.raises(GarrisonError, match="not one plain e-mail address"):
        dead_letters.resend(company.state, nobody, to="x@owners.test, y@owners.test")
    dead_letters.resend(company.state, nobody, to="c@owners.test")
    assert deliver(company).sent == 1
    assert post.recipients == ["a@owners.test", "c@owners.test"]


def test_a_message_that_was_sent_can_not_be_sent_again(company, post):
    company.mail_to(post)
    written(company, "A")
    deliver(company)
    with pytest.raises(GarrisonError, match="it was sent"):
        dead_letters.resend(company.state, only_id(company))
    with pytest.raises(GarrisonError, match="no message nothing"):
        dead_letters.resend(company.state, "nothing")


def test_where_all_seats_are_taken_a_process_leaves_it_to_the_others(any_company, post, monkeypatch):
    monkeypatch.setattr(claims, "SEATS", 1)
    any_company.mail_to(post)
    written(any_company, "A")
    with try_lock(any_company.state.engine, Lock.DELIVER, of="0") as mine:
        assert mine
        result = deliver(any_company)
        assert (result.busy, result.sent, result.waiting) == (True, 0, 1)
    assert deliver(any_company).sent == 1


def test_no_two_locks_have_the_same_number():
    assert len({lock.value for lock in Lock}) == len(Lock.__members__)


def test_events_are_logged_while_a_delivery_goes_on(any_company):
    with ThreadPoolExecutor() as pool, try_lock(any_company.state.engine, Lock.DELIVER) as mine:
        assert mine
        stored = pool.submit(store_events, any_company.settings, any_company.state, {})
        assert stored.result(timeout=20)["received_at"]


@pytest.mark.parametrize("step", ["prepare", "transfer"])
def test_a_message_that_another_deliverer_has_taken_over_is_not_sent(company, monkeypatch, step):
    written(company, "A")
    whole = getattr(channels.FolderChannel, step)

    def lose(self, message):
        whole(self, message)
        with company.state.writing() as connection:
            connection.execute(sa.update(OUTBOX).values(claimed_by="9:other", claimed_until=2 * FAR))

    monkeypatch.setattr(channels.FolderChannel, step, lose)
    monkeypatch.setattr(channels.FolderChannel, "commit", lambda _, m: pytest.fail(f"{m.id} was sent"))
    assert deliver(company, FAR).sent == 0
    assert states(company) == {"a@owners.test": ("sending", 0)}
    assert company.rows(OUTBOX, "claimed_by") == [("9:other",)]


def test_two_deliverers_at_once_send_each_message_once(any_company, post):
    any_company.mail_to(post)
    written(any_company, "ABCDE")
    other = database.open(any_company.settings)
    results = []
    threads = [
        threading.Thread(target=lambda s=s: results.append(outbox.deliver(any_company.settings, s)))
        for s in (any_company.state, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sum(r.sent for r in results) == 5
    assert post.recipients == [f"{a}@owners.test" for a in "abcde"]


def test_neither_log_nor_output_shows_a_recipient(company, post, caplog):

    caplog.set_level(1)
    company.mail_to(post)
    written(company, "AB")
    post.answers["RCPT"] = "550 <a@owners.test> <b@owners.test> unknown"
    lines = list(cli_output.format_delivery(deliver(company, FAR)))
    post.answers.clear()
    lines += cli_output.format_delivery(deliver(company, 2 * FAR))
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("mail")]  # the server's own log
    assert lines
    assert "@owners.test" not in "\n".join(ours + lines)


def test_the_folder_gets_one_file_for_each_message(company):
    written(company, "AB")
    assert deliver(company).sent == 2
    files = sorted((company.folder / "letters").iterdir())
    assert [f.name for f in files] == [f"{message}.eml" for (message,) in company.rows(OUTBOX, "id")]
    mail = email.message_from_bytes(files[0].read_bytes(), policy=policy.default)
    assert mail["To"].endswith("@owners.test")
    assert "A is at risk." in mail.get_content()


def test_a_message_left_in_sending_is_written_to_the_folder_again_with_the_same_bytes(company):
    written(company, "A")
    deliver(company)
    [file] = (company.folder / "letters").iterdir()
    before = file.read_bytes()
    with company.state.writing() as connection:
        left = {"state": "sending", "phase": "final", "claimed_by": "0:gone", "claimed_until": FAR}
        connection.execute(sa.update(OUTBOX).values(**left, attempts=0, sent_at=None))
    assert (deliver(company).sent, company.rows(OUTBOX, "doubts")) == (1, [(0,)])
    assert [f.read_bytes() for f in (company.folder / "letters").iterdir()] == [before]


def test_a_folder_that_can_not_be_written_leaves_all_pending(company):
    written(company, "A")
    (company.folder / "letters").write_text("a file is in the way")
    with pytest.raises(DeliveryError, match="letters can't be written"):
        deliver(company)
    assert states(company) == {"a@owners.test": ("pending", 0)}


def test_without_a_channel_the_error_names_the_settings(company):
    written(company, "A")
    company.configure(folder=None)
    with pytest.raises(GarrisonError, match=r"\[alerts.email\].*alerts.folder"):
        deliver(company)
