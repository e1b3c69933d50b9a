"""`make bench-delivery`: faults at every write, sync and send of `deliver`, and random kills beside a rude server.

1. The n-th call of write, pwrite, fsync, fdatasync or send fails in the process that delivers, for n = 1, 2, … until
   none is left: by an error, by a disk that is full, and by SIGKILL. A small C library, preloaded, does it.
2. A delivery on SQLite is killed 200 times at random instants, beside a mail server that refuses, dawdles, hangs up at
   any point and is started anew meanwhile.
3. Three deliverers on PostgreSQL share 10,000 messages, each killed again and again, beside the same server.
4. Two alerters on PostgreSQL raise 10,000 alerts in five runs, both the same run at once, while three deliverers send
   their letters; all five are killed again and again.

With names of parts as words, only those run: `bench_delivery.py 200 10000 alerters`.

In the end the server is polite and a person sends the dead letters again. Counted: messages lost, rows whose columns
contradict each other, and messages shown twice, in a doubt that was counted and without one.
"""

import ctypes
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from itertools import count
from pathlib import Path

import measure
import sqlalchemy as sa

from features.state import database
from features.state.tables import OUTBOX
from tests.support.delivery_crowd import (
    DAY,
    FAR,
    MINUTE,
    configure,
    deliver,
    raise_on_postgres,
    run_killed,
    settle,
    share_on_postgres,
)
from tests.support.outbox_laws import find_illegal
from tests.support.outbox_rows import write_messages
from tests.support.rude_smtp import RudeServer

# What there must be none of.
NONE_WANTED = ("lost", "illegal", "shown_twice_without_doubt")
KINDS = ("error", "disk full", "kill")


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


def main(kills, messages, *names):
    with tempfile.TemporaryDirectory() as name:
        place, figures = Path(name), {}
        parts = {
            "kills": lambda: kill_at_random(place / "kills", kills),
            "postgres": lambda: share_on_postgres(place / "postgres", messages),
            "alerters": lambda: raise_on_postgres(place / "alerters", messages),
        }
        if library := os.environ.get("LD_PRELOAD"):
            parts = {"sweep": lambda: sweep(place / "sweep", library)} | parts
        for part, run in parts.items():
            if names and part not in names:
                continue
            (place / part).mkdir()
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
    main(*map(int, sys.argv[1:3]), *sys.argv[3:]) if len(sys.argv) > 2 else main(200, 10_000)
