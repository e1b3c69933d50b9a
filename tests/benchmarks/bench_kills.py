"""`make bench-kills`: nights killed with SIGKILL at random instants until they end, against one that nothing disturbed.

Each night is a process of its own on a copy of the same small company, with a real mail server. It is killed up to half
a night after each start, until it comes to its end. A kill between the end of a message and the storing of its
answer leaves it in doubt: it is sent once more. Those are counted.
"""

import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import measure
import sqlalchemy as sa

from features.state import database
from features.state.tables import OUTBOX
from monitoring.demo.mailbox import open_mailbox
from monitoring.night.night_log import STEPS
from tests.support.night_company import NIGHT, configure, write_company
from tests.support.night_process import NightProcesses
from tests.support.night_state import count_mails, find_difference, read_state
from tests.support.ports import find_free_port

FIRST = "2025-12-01"


def copy(seasoned, folder):
    """A company of its own for one night; gives it and the port of its mail server."""
    port = find_free_port()
    shutil.copytree(seasoned, folder, ignore=shutil.ignore_patterns("mails", "history", "check.html"))
    return configure(folder, port=port), port


def count_doubts(company):
    """How often the answer about a message was lost: each may have been sent twice."""
    with database.open(company.settings) as store, store.reading() as connection:
        return connection.scalar(sa.select(sa.func.sum(OUTBOX.c.doubts))) or 0


def run_killed(processes, company, draw, seconds, results, killed_in):  # noqa: PLR0913, PLR0917  # of one benchmark
    """Run a night, killed again and again at random instants, until it comes to its end; gives how that was."""
    patience, reached = seconds / 2, -1
    while True:
        night = processes.run(company.folder, "night", "--as-of", NIGHT, kill_after=draw.uniform(0, patience))
        if night.status is not None:
            return night
        results["killed"] += 1
        done = len(night.out.splitlines()) - 1
        killed_in[STEPS[done] if 0 <= done < len(STEPS) else "outside"] += 1
        # A step that takes longer than half a night, on a busy machine, needs a later kill to get done at all.
        patience, reached = (seconds / 2, done) if done > reached else (patience * 1.5, reached)


def main(kills, seed=1):
    draw, results, killed_in = random.Random(seed), Counter(), Counter()  # noqa: S311  # nothing secret here
    with tempfile.TemporaryDirectory() as name, NightProcesses() as processes:
        place = Path(name)
        port = find_free_port()
        write_company(place / "seasoned", port=port)
        with open_mailbox(port, place / "seasoned/mails", lambda _: None):
            assert processes.run(place / "seasoned", "night", "--as-of", FIRST).status == 0
        company, port = copy(place / "seasoned", place / "undisturbed")
        with open_mailbox(port, company.folder / "mails", lambda _: None):
            whole = processes.run(company.folder, "night", "--as-of", NIGHT)
        assert whole.status == 0, whole.out + whole.err
        expected, mails, seconds = read_state(company), count_mails(company.folder / "mails"), whole.seconds
        while results["killed"] < kills:
            company, port = copy(place / "seasoned", place / "killed")
            with open_mailbox(port, company.folder / "mails", lambda _: None):
                last = run_killed(processes, company, draw, seconds, results, killed_in)
                arrived = count_mails(company.folder / "mails")
            different, doubts = find_difference(expected, read_state(company)), count_doubts(company)
            results["nights"] += 1
            results["failed"] += last.status != 0
            results["different"] += bool(different)
            results["in_doubt"] += doubts
            results["sent_twice"] += (twice := sum(count - 1 for count in arrived.values()))
            results["sent_twice_without_doubt"] += max(0, twice - doubts)
            results["lost"] += len(set(mails) - set(arrived))
            print(dict(results), dict(killed_in), different, flush=True)
            shutil.rmtree(company.folder)
    names = ("killed", "nights", "failed", "different", "sent_twice", "sent_twice_without_doubt", "lost", "in_doubt")
    figures = {name: results[name] for name in names} | {"messages": results["nights"] * len(mails)}
    measure.write(
        "kills", figures | {f"killed_in_{step}": count for step, count in killed_in.items()}, ["duckdb", "sqlalchemy"]
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
