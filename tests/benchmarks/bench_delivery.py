"""`make bench-delivery`: faults at every write, sync and send of `deliver`, and random kills beside a rude server.

1. The n-th call of write, pwrite, fsync, fdatasync or send fails in the process that delivers, for n = 1, 2, … until
   none is left: by an error, by a disk that is full, and by SIGKILL. A small C library, preloaded, does it.
2. A delivery on SQLite is killed 200 times at random instants, beside a mail server that refuses, dawdles, hangs up at
   any point and is started anew meanwhile.
3. Three deliverers on PostgreSQL share 10,000 messages, each killed again and again, beside the same server.

In the end the server is polite and a person sends the dead letters again. Counted: messages lost, rows whose columns
contradict each other, and messages shown twice, in a doubt that was counted and without one.
"""

import contextlib
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import measure
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.settings.load import load_settings
from features.state import database
from features.state.tables import OUTBOX
from monitoring.notifications import dead_letters, outbox
from tests.support.outbox_laws import compare_with_arrived, find_illegal
from tests.support.outbox_rows import write_messages
from tests.support.postgres import PostgresServer
from tests.support.rude_smtp import RudeServer

FAR = 4_000_000_000_000_000  # µs: later than any message is created
MINUTE, DAY = 60_000_000, 86_400_000_000
# What there must be none of.
NONE_WANTED = ("lost", "illegal", "shown_twice_without_doubt")
KINDS = ("error", "disk full", "kill")
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


def configure(folder, port, url=""):
    file = folder / "garrison.toml"
    file.write_text(TOML.format(folder=folder, port=port, url=f'state_url = "{url}"' if url else ""))
    return load_settings(file)


def run_killed(do, seconds=None):
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


def deliver(settings, now):
    with database.open(settings) as state, contextlib.suppress(GarrisonError):
        outbox.deliver(settings, state, now=now)


def settle(settings, server, start):
    """Let the rest be delivered, then the dead letters by a person; gives the counts, and the instant after it."""
    server.be_polite()
    now, results = start, Counter()
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


def sweep(place, library):
    """Fail every call once, in each way."""
    results = Counter()
    with RudeServer() as server:
        settings = configure(place, server.port)
        with database.open(settings) as state:
            write_messages(state, "AB")
        template = Path(settings.state.removeprefix("sqlite:///"))
        swept = settings.model_copy(update={"state_url": f"sqlite:///{place}/swept.db"})
        for number, kind in enumerate(KINDS):
            for at in count(1):
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{place}/swept.db{suffix}").unlink(missing_ok=True)
                shutil.copy(template, place / "swept.db")
                server.arrived.clear()
                taken = place / "taken"
                taken.unlink(missing_ok=True)
                run_killed(partial(fail_once, swept, library, (at, number), taken))
                with database.open(swept) as state:
                    results["illegal"] += len(find_illegal(state))
                results += settle(swept, server, FAR + DAY)
                if taken.exists() and int(taken.read_text()) < at:
                    break
                results[f"faults_{kind.replace(' ', '_')}"] += 1
    return results


def fail_once(settings, library, fault, taken):
    """Deliver with a fault, its step and kind, and write how many steps there were."""
    calls = ctypes.CDLL(str(library))
    calls.failing_calls_arm.argtypes = [ctypes.c_long, ctypes.c_int]
    calls.failing_calls_taken.restype = ctypes.c_long
    calls.failing_calls_arm(*fault)
    deliver(settings, FAR)
    steps = calls.failing_calls_taken()
    calls.failing_calls_arm(0, 0)
    taken.write_text(str(steps))


def kill_at_random(place, kills, seed=1):
    """Kill a delivery on SQLite again and again, beside a rude server that is started anew now and then."""
    draw, results = random.Random(seed), Counter()  # noqa: S311  # nothing secret here
    with RudeServer(0.15, seed) as server:
        settings = configure(place, server.port)
        now = FAR
        while results["killed"] < kills:
            with database.open(settings) as state, state.reading() as connection:
                waiting = connection.scalar(sa.select(sa.func.count()).where(OUTBOX.c.state == "pending"))
            if waiting < 50:
                with database.open(settings) as state:
                    write_messages(state, [f"{results['written']}-{n}" for n in range(200)])
                results["written"] += 200
            results["killed"] += run_killed(partial(deliver, settings, now), draw.uniform(0, 1.5))
            now += 6 * MINUTE
            if draw.random() < 0.2:
                server.restart()
            with database.open(settings) as state:
                results["illegal"] += len(find_illegal(state))
        results += settle(settings, server, now + DAY)
        results["restarts"] = server.restarts
        results += Counter(
            {f"befell_{what.replace(' ', '_').replace(',', '')}": n for what, n in server.befell.items()}
        )
    return results


def share_on_postgres(place, messages, seed=2):
    """Let three deliverers share the messages, each killed after up to three seconds, and started again."""
    results, lock = Counter(), threading.Lock()
    postgres = PostgresServer(uuid.uuid4().hex[:8])
    try:
        with RudeServer(0.1, seed) as server:
            settings = configure(place, server.port, postgres.create_database())
            with database.open(settings) as state:
                write_messages(state, [f"{n:05}" for n in range(messages)])
            began = time.monotonic()

            def work(number):
                draw = random.Random(seed * 10 + number)  # noqa: S311  # nothing secret here
                while True:
                    # A minute a second, so that what was refused is tried again.
                    now = FAR + int((time.monotonic() - began) * MINUTE)
                    was_killed = run_killed(partial(deliver, settings, now), draw.uniform(0.3, 3))
                    with lock:
                        results["killed"] += was_killed
                    if not was_killed and not count_open(settings):
                        return

            with ThreadPoolExecutor(3) as pool:
                list(pool.map(work, range(3)))
            results["seconds"] = round(time.monotonic() - began)
            results += settle(settings, server, FAR + int((time.monotonic() - began) * MINUTE) + DAY)
    finally:
        postgres.stop()
    return results


def count_open(settings):
    with database.open(settings) as state, state.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).where(OUTBOX.c.state.in_(["pending", "sending"])))


def main(kills, messages):
    with tempfile.TemporaryDirectory() as name:
        place, figures = Path(name), {}
        for part in ("sweep", "kills", "postgres"):
            (place / part).mkdir()
        parts = {
            "kills": lambda: kill_at_random(place / "kills", kills),
            "postgres": lambda: share_on_postgres(place / "postgres", messages),
        }
        if library := os.environ.get("LD_PRELOAD"):
            parts = {"sweep": lambda: sweep(place / "sweep", library)} | parts
        for part, run in parts.items():
            results = dict.fromkeys(NONE_WANTED, 0) | run()
            print(part, results, flush=True)
            figures |= {f"{part}_{key}": number for key, number in results.items()}
    measure.write("delivery", figures, ["sqlalchemy", "psycopg"])


def start_again_preloaded():
    """Start this program again with the library that makes calls fail, where there is a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None or "LD_PRELOAD" in os.environ:
        return
    source = Path(__file__).parents[1] / "support/failing_calls.c"
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/failing_calls.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        again = [sys.executable, *sys.argv]
        sys.exit(subprocess.run(again, env={**os.environ, "LD_PRELOAD": library}, check=False).returncode)


if __name__ == "__main__":
    start_again_preloaded()
    main(*(int(word) for word in sys.argv[1:3])) if len(sys.argv) > 2 else main(200, 10_000)
