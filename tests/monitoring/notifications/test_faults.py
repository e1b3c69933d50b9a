"""Every step of `deliver` fails once, in each way, and the next deliveries make up for it."""

import contextlib
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle

import pytest

from features.core.errors import GarrisonError
from features.state import database
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.notifications import outbox
from tests.support.faults import Fault, run_forked
from tests.support.outbox_laws import compare_with_arrived, find_illegal
from tests.support.outbox_rows import write_messages
from tests.support.rude_smtp import RudeServer

FAR = 4_000_000_000_000_000  # µs: later than any message here is created
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def polite():
    with RudeServer() as server:
        yield server


def sweep(company, accounts, kind, count_arrived):
    """Deliver the same messages again and again, the fault one step later each time, until none is left.

    After each fault further deliveries make up for it. Returns the sums over all faults, and their number.
    """
    settings, state, totals = company.settings, company.state, Counter()
    for at in count(1):
        with state.writing() as connection:
            for table in (EPISODE_EVENTS, OUTBOX, EPISODES):
                connection.execute(table.delete())
        write_messages(state, accounts)
        before = count_arrived()
        has_failed = deliver_with_fault(settings, state, at, kind)
        assert find_illegal(state) == [], at
        later = (outbox.deliver(settings, state, now=FAR + n * DAY) for n in range(1, 5))
        assert any(not delivery.waiting for delivery in later), at
        assert find_illegal(state) == [], at
        totals += compare_with_arrived(state, count_arrived() - before)
        if not has_failed:
            return totals, at - 1
    raise AssertionError


def deliver_with_fault(settings, state, at, kind):
    """Deliver with the n-th step failing, and return whether it came to it."""

    def do(store):
        with Fault(store.engine, at, kind) as fault, contextlib.suppress(GarrisonError):
            outbox.deliver(settings, store, now=FAR)
        return fault.steps >= at

    if kind != "kill":
        return do(state)
    state.close()  # a forked process must not share its connections
    return run_forked(lambda: do(database.open(settings))) is None


@pytest.mark.parametrize(("kind", "accounts"), [("error after", "AB"), ("disk full", "A"), ("kill", "A")])
def test_whatever_step_of_a_delivery_by_mail_fails_each_message_arrives(company, polite, kind, accounts):
    company.mail_to(polite)
    totals, faults = sweep(company, accounts, kind, polite.arrived.copy)
    assert faults > 30
    assert totals["arrived"] == totals["messages"] == len(accounts) * (faults + 1)
    assert (totals["lost"], totals["dead_letters"], totals["shown_twice_without_doubt"]) == (0, 0, 0)
    # Of all the steps only those between the last dot and the storing of its answer leave a doubt.
    assert totals["shown_twice"] <= totals["in_doubt"] <= 12 * len(accounts)


def test_at_whatever_step_a_delivery_into_a_folder_is_killed_each_message_is_one_file(company):
    folder = company.folder / "letters"

    def count_files():
        return Counter({file.stem: 1 for file in folder.glob("*.eml")})

    def start_anew():
        shutil.rmtree(folder, ignore_errors=True)
        return Counter()

    steps = cycle((start_anew, count_files))
    totals, faults = sweep(company, "A", "kill", lambda: next(steps)())  # noqa: PLW0108  # another one each time
    assert faults > 20
    assert totals["arrived"] == totals["messages"] == faults + 1
    assert (totals["lost"], totals["in_doubt"], totals["dead_letters"]) == (0, 0, 0)


def test_three_deliverers_at_once_share_the_work_and_send_nothing_twice_without_a_doubt(any_company):
    write_messages(any_company.state, [f"A{n:02}" for n in range(60)])
    rude = ("451 at RCPT", "hangs up in mid-message", "hangs up after the dot, accepted", "slow")
    with RudeServer(0.2, rudeness=rude) as server, ThreadPoolExecutor(3) as pool:
        settings = any_company.mail_to(server)
        stores = [database.open(settings) for _ in range(3)]
        list(pool.map(lambda store: outbox.deliver(settings, store, now=FAR), stores))
        assert find_illegal(any_company.state) == []
        server.be_polite()
        assert outbox.deliver(settings, any_company.state, now=FAR + DAY).waiting == 0
        totals = compare_with_arrived(any_company.state, server.arrived)
        for store in stores:
            store.close()
    assert server.befell
    assert (totals["lost"], totals["shown_twice_without_doubt"], totals["arrived"]) == (0, 0, 60)
    # One that hung up just before the dot may be taken for one that hung up after it.
    assert totals["shown_twice"] == server.befell["hangs up after the dot, accepted"] <= totals["in_doubt"]
