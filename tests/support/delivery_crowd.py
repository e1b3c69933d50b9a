"""Processes that raise alerts and deliver messages all at once, each killed again and again, and laws of the end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.language import Listing
from features.core.local_formats import Day, Money, Percent
from features.core.timestamps import to_micros
from features.settings import Settings
from features.settings.load import load_settings
from features.state import database
from features.state.database import Store
from features.state.tables import ALERT_RUNS, EPISODES, OUTBOX, SCORES
from monitoring.alerts import lifecycle
from monitoring.alerts.limits import Thresholds
from monitoring.binding.account_records import AccountRecord
from monitoring.binding.bindings import AccountBinding, BindingRules
from monitoring.notifications import dead_letters, outbox
from tests.support import episodes
from tests.support.outbox_laws import compare_with_arrived, find_illegal
from tests.support.outbox_rows import write_messages
from tests.support.postgres import PostgresServer
from tests.support.rude_smtp import RudeServer

FAR = 4_000_000_000_000_000  # µs: later than any message is created
MINUTE, DAY = 60_000_000, 86_400_000_000
# Seconds: a deliverer holds its messages for 15 minutes, which pass in 15 seconds, by the clock of its beginning.
_LONGEST_OF_SENDERS = 8.0
_LIMITS = Thresholds("churn-1", enter=0.6, leave=0.4)
_FIRST = datetime(2024, 6, 3, tzinfo=UTC)
TOML = """
{url}
[company]
name = "Harbour"
[paths]
var = "{folder}/var"
[sources]
accounts = {{ path = "accounts.csv" }}
[tables.accounts]
source = "accounts"
columns = {{ account_id = "id", created_at = "created" }}
[tables.purchases]
source = "accounts"
columns = {{ account_id = "id", purchased_at = "at", amount = "amount" }}
[churn]
cohort = {{ kind = "active" }}
label = {{ kind = "no_purchase" }}
[alerts.email]
host = "127.0.0.1"
port = {port}
sender = "alerts@harbour.test"
security = "none"
"""


def configure(folder: Path, port: int, url: str = "") -> Settings:
    """Write and load the settings of a company that sends by a mail server on this machine."""
    file = folder / "garrison.toml"
    file.write_text(TOML.format(folder=folder, port=port, url=f'state_url = "{url}"' if url else ""))
    return load_settings(file)


def run_killed(do: Callable[[], object], seconds: float | None = None) -> bool:
    """Run a function in a forked process, killed after so many seconds; gives whether it was killed."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            do()
        os._exit(0)
    timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL)) if seconds is not None else None
    if timer:
        timer.start()
    status = os.waitpid(child, 0)[1]
    if timer:
        timer.cancel()
        timer.join()
    return os.WIFSIGNALED(status)


def deliver(settings: Settings, now: int) -> None:
    """Deliver what is due, whatever becomes of it."""
    with database.open(settings) as state, contextlib.suppress(GarrisonError):
        outbox.deliver(settings, state, now=now)


def settle(settings: Settings, server: RudeServer, start: int) -> Counter[str]:
    """Let the rest be delivered, then the dead letters by a person; gives the counts, and the instant after it."""
    server.be_polite()
    now, results = start, Counter[str]()
    with database.open(settings) as state:
        for is_last in (False, True):
            while outbox.deliver(settings, state, now=now).waiting:
                now += DAY
            if not is_last:
                dead = outbox.deliver(settings, state, now=now).needs_attention
                results["dead_letters"] = len(dead)
                results["dead_letters_in_doubt"] = sum(message.doubts > 0 for message in dead)
                for message in dead:
                    dead_letters.resend(state, message.id)
        results["illegal"] += len(find_illegal(state))
        return results + compare_with_arrived(state, server.arrived)


def share_on_postgres(place: Path, messages: int, seed: int = 2) -> Counter[str]:
    """Let three deliverers share the messages, each killed after up to three seconds, and started again."""
    with _open_postgres(place, seed) as (settings, server):
        with database.open(settings) as state:
            write_messages(state, [f"{n:05}" for n in range(messages)])
        return _run_crowd(settings, server, seed)


def raise_on_postgres(
    place: Path, messages: int, *, days: int = 5, seed: int = 3, longest: float = 20.0
) -> Counter[str]:
    """Let two alerters raise as many alerts in some days' runs while three deliverers send their letters.

    Both alerters run each day's alerts at once; all five are killed again and again. Counted beside what `settle`
    counts: accounts with another number of episodes than one, or of letters.

    Args:
        place: A folder.
        messages: Accounts that enter risk, the same number each day, each with an owner of its own.
        days: Runs.
        seed: Of the instants of the kills.
        longest: Seconds of the first life of a process, at most; each of its next ones may be longer.
    """
    accounts = [f"{n:05}" for n in range(messages)]
    with _open_postgres(place, seed) as (settings, server):
        with database.open(settings) as state:
            for n in range(days):
                _write_scores(state, n, accounts[: (n + 1) * messages // days])
        str(Listing([Day(_FIRST), Money(1.0, "EUR"), Percent(0.5)]))  # reads the locale once, not in each process
        results = _run_crowd(settings, server, seed, days=days, longest=longest)
        with database.open(settings) as state, state.reading() as connection:
            for table, key in ((EPISODES, EPISODES.c.account_id), (OUTBOX, OUTBOX.c.episode_id)):
                of_letters = OUTBOX.c.kind == "opened" if table is OUTBOX else sa.true()
                counts = connection.execute(sa.select(key, sa.func.count()).where(of_letters).group_by(key)).all()
                results["illegal"] += sum(number != 1 for _, number in counts) + abs(messages - len(counts))
            results["runs"] = connection.scalar(sa.select(sa.func.count()).select_from(ALERT_RUNS)) or 0
            results["illegal"] += len(episodes.find_illegal(state))
        return results


@contextlib.contextmanager
def _open_postgres(place: Path, seed: int) -> Iterator[tuple[Settings, RudeServer]]:
    """Start a database and a rude mail server, and give the settings of a company that has both."""
    postgres = PostgresServer(uuid.uuid4().hex[:8])
    try:
        with RudeServer(0.1, seed) as server:
            yield configure(place, server.port, postgres.create_database()), server
    finally:
        postgres.stop()


def _run_crowd(
    settings: Settings, server: RudeServer, seed: int, *, days: int = 0, longest: float = 3.0
) -> Counter[str]:
    """Run three deliverers, and two alerters where there are days, until nothing is left; then settle."""
    crowd = _Crowd(settings, seed, longest, time.monotonic())
    with ThreadPoolExecutor(5) as pool:
        senders = [pool.submit(crowd.send, number) for number in range(3)]
        for alerter in [pool.submit(crowd.alert, number, days) for number in range(2 if days else 0)]:
            alerter.result()
        crowd.has_ended.set()
        for sender in senders:
            sender.result()
    crowd.results["seconds"] = round(time.monotonic() - crowd.began)
    return crowd.results + settle(settings, server, crowd.now() + DAY)


@dataclass
class _Crowd:
    """Processes that work at once. Whoever was killed before it was done has a little longer the next time.

    Args:
        settings: The company's.
        seed: Of the instants of the kills.
        longest: Seconds of the first life of a process, at most.
        began: The clock's instant.
    """

    settings: Settings
    seed: int
    longest: float
    began: float
    results: Counter[str] = field(default_factory=Counter)
    has_ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> int:
        """Return an instant that goes on a minute a second, so that what was refused is tried again."""
        return FAR + int((time.monotonic() - self.began) * MINUTE)

    def send(self, number: int) -> None:
        """Deliver until no alerter is left, and nothing is to be sent."""
        lives = (min(life, _LONGEST_OF_SENDERS) for life in self._draw_lives(number))
        while True:
            is_last = self.has_ended.is_set()
            was_killed = self._live("killed", partial(deliver, self.settings, self.now()), next(lives))
            if not was_killed and is_last and not count_open(self.settings):
                return

    def alert(self, number: int, days: int) -> None:
        """Raise each day's alerts until they are raised."""
        lives = self._draw_lives(100 + number)
        for day in range(days):
            while not _is_processed(self.settings, day):
                self._live("alerters_killed", partial(_raise_alerts, self.settings, day), next(lives))
                with self.lock:
                    self.results["alerters_started"] += 1

    def _draw_lives(self, number: int) -> Iterator[float]:
        draw, longest = random.Random(self.seed * 1_000 + number), self.longest  # noqa: S311  # nothing secret here
        while True:
            yield draw.uniform(0.1 * longest, longest)
            longest *= 1.25

    def _live(self, name: str, do: Callable[[], object], seconds: float) -> bool:
        was_killed = run_killed(do, seconds)
        with self.lock:
            self.results[name] += was_killed
        return was_killed


def _write_scores(state: Store, day: int, accounts: list[str]) -> None:
    row = {
        "as_of": to_micros(_FIRST + timedelta(days=day)),
        "target": "churn",
        "horizon": 90,
        "score": 0.7,
        "model": _LIMITS.model,
        "catalog": "c",
        "sources": "purchases",
        "value": 12_000.0,
        "in_cohort": True,
        "drivers": "[]",
        "scored_at": 0,
    }
    rows = ({**row, "account_id": account} for account in accounts)
    state.write_scores(tuple(one.get(c.name) for c in SCORES.columns) for one in rows)


def _raise_alerts(settings: Settings, day: int) -> None:
    """Raise a day's alerts as one process does, whatever becomes of it."""
    rules = BindingRules(settings, {})

    def bind(accounts: Collection[str]) -> Mapping[str, AccountBinding]:
        records = {a: AccountRecord(f"Company {a}", f"{a}@owners.test") for a in accounts}
        return rules.bind(records, accounts, {})

    with database.open(settings) as state, contextlib.suppress(GarrisonError):
        as_of = _FIRST + timedelta(days=day)
        lifecycle.run(settings, state, limits=_LIMITS, bindings=bind, as_of=as_of)


def _is_processed(settings: Settings, day: int) -> bool:
    at = to_micros(_FIRST + timedelta(days=day))
    with database.open(settings) as state, state.reading() as connection:
        return connection.scalar(sa.select(ALERT_RUNS.c.as_of).where(ALERT_RUNS.c.as_of == at)) is not None


def count_open(settings: Settings) -> int:
    """Count the messages that are yet to be sent."""
    with database.open(settings) as state, state.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).where(OUTBOX.c.state.in_(["pending", "sending"])))
