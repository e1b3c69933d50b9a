"""`make bench-delivery`: faults at every write, sync and send of `deliver`, and random kills beside a rude server.

1. The n-th call of write, pwrite, fsync, fdatasync, rename or send fails in the process that delivers, for n = 1, 2, …
   until none is left: by an error, by a disk that is full, and by SIGKILL. A small C library, preloaded, does it.
2. A delivery on SQLite is killed 200 times at random instants, beside a mail server that refuses, dawdles, hangs up at
   any point and is started anew meanwhile.
3. Three deliverers on PostgreSQL share 10,000 messages, each killed again and again, beside the same server.
4. Two alerters on PostgreSQL raise 10,000 alerts in five runs, both the same run at once, while three deliverers send
   their letters; all five are killed again and again.

With names of parts as words, only those run: `bench_delivery.py 200 10000 alerters`.

In the end the server is polite and a person sends the dead letters again. Counted: messages lost, rows whose columns
contradict each other, and messages shown twice, in a doubt that was counted and without one.
"""

import os
import random
import shutil
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
from tests.support.failing_calls import KINDS, FailingCalls, start_again_preloaded
from tests.support.outbox_laws import find_illegal
from tests.support.outbox_rows import write_messages
from tests.support.rude_smtp import RudeServer

# What there must be none of.
NONE_WANTED = ("lost", "illegal", "shown_twice_without_doubt")


def sweep(place):
    """Fail every call once, in each way."""
    results = Counter()
    with RudeServer() as server:
        settings = configure(place, server.port)
        with database.open(settings) as state:
            write_messages(state, "AB")
        template = Path(settings.state.removeprefix("sqlite:///"))
        swept = settings.model_copy(update={"state_url": f"sqlite:///{place}/swept.db"})
        for kind in KINDS:
            for at in count(1):
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{place}/swept.db{suffix}").unlink(missing_ok=True)
                shutil.copy(template, place / "swept.db")
                server.arrived.clear()
                taken = place / "taken"
                taken.unlink(missing_ok=True)
                run_killed(partial(fail_once, swept, (at, kind), taken))
                with database.open(swept) as state:
                    results["illegal"] += len(find_illegal(state))
                results += settle(swept, server, FAR + DAY)
                if taken.exists() and int(taken.read_text()) < at:
                    break
                results[f"faults_{kind.replace(' ', '_')}"] += 1
    return results


def fail_once(settings, fault, taken):
    """Deliver with a fault, its step and kind, and write how many steps there were."""
    with FailingCalls(*fault) as calls:
        deliver(settings, FAR)
    taken.write_text(str(calls.steps))


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
        if "LD_PRELOAD" in os.environ:
            parts = {"sweep": lambda: sweep(place / "sweep")} | parts
        for part, run in parts.items():
            if names and part not in names:
                continue
            (place / part).mkdir()
            results = dict.fromkeys(NONE_WANTED, 0) | run()
            print(part, results, flush=True)
            figures |= {f"{part}_{key}": number for key, number in results.items()}
    measure.write("delivery", figures, ["sqlalchemy", "psycopg"])


if __name__ == "__main__":
    start_again_preloaded()
    main(*map(int, sys.argv[1:3]), *sys.argv[3:]) if len(sys.argv) > 2 else main(200, 10_000)
