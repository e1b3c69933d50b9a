"""`make bench-console`: every page of the console over 1,000,000 accounts, 30 months of scores and 200,000 episodes.

A real server process, any order and filter. The load is a closed loop: 8 connections, each asking for its next page as
soon as it has the one before, as fast as the machine allows; once a second somebody writes to the state database, so
that what is kept of it is read anew. Times are those of the server, from a request's arrival to its answer
(`Server-Timing`); those that the client saw, which runs on the same cores, stand beside them as `seen`. The console has
two processes (WORKERS=N in the environment: others). Memory is that of all of them from their start to the end, where
what they share counts once. The company is synthetic, and made anew; ACCOUNTS=N in the environment makes a smaller
one, and `--again` takes the one of the last time. Of the reports, it has the month's, the owners' sheet and verdicts;
models, experiments, journey, problems and costs have nothing to show.
"""

import asyncio
import contextlib
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import httpx
import measure
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from features.core.timestamps import DAY, to_micros
from features.settings.load import load_settings
from features.state import database
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX, SCORES
from monitoring.alerts import kinds
from monitoring.console.accounts.account_conditions import SHOWN
from monitoring.console.sign_in.person import Role
from serving.gate import verdict_store
from serving.gate.verdict import RunVerdict
from serving.scoring.account_order import COLUMNS as ORDERS
from serving.scoring.score_table import ScoreTable, scores_folder
from serving.scoring.snapshot_store import StoredSnapshot, snapshots_folder
from tests.support.ports import find_free_port
from tests.support.waiting import wait_until

FOLDER = Path("var/bench/console")
ACCOUNTS = int(os.environ.get("ACCOUNTS", "1000000"))
EPISODES_MADE, OPEN_SHARE = ACCOUNTS // 5, 0.1
MONTHS, OWNERS, CONNECTIONS, SECONDS = 30, max(1, ACCOUNTS // 500), 8, 20
WORKERS = os.environ.get("WORKERS", "2")
IDLE_SECONDS = 0.1
WORDS = ("Beacon", "Harbour", "Fjord", "Juniper", "Anchor", "Cinder", "Granite", "Delta", "Heron", "Elm")
KINDS = ("Works", "Partners", "Media", "Labs", "Supply", "Foods", "Clinics", "Power", "Freight", "Textiles")
PEOPLE = {"manager": "boss@bench.example", "owner": "owner-7@bench.example", "sponsor": "ceo@bench.example"}
PEOPLE |= {"data": "data@bench.example"}
TOML = """
[company]
name = "Bench"
currency = "EUR"
[paths]
var = "var"
mlruns = "mlruns"
[sources]
accounts = { path = "accounts.parquet" }
purchases = { path = "purchases.parquet" }
[tables.accounts]
source = "accounts"
[tables.accounts.columns]
account_id = "id"
created_at = "created"
name = "name"
owner_email = "owner"
parent_id = "parent"
region = "region"
[tables.purchases]
source = "purchases"
columns = { account_id = "id", purchased_at = "at", amount = "amount" }
[churn]
cohort = { kind = "active" }
label = { kind = "no_purchase" }
horizons = [90]
[binding]
sponsors = [{ tiers = ["A"], address = "ceo@bench.example", role = "chief executive" }]
[console.roles]
manager = ["boss@bench.example"]
data_scientist = ["data@bench.example"]
"""
DRIVER = {"family": "spend", "contribution": 0.7, "actionable": True}
DRIVERS = [
    DRIVER | {"feature": "spend_90d", "text": "spend fell by half", "play": "revive_usage"},
    DRIVER | {"feature": "gap", "text": "no purchase for 60 days", "play": "break_silence"},
]


def prepare():
    """Make the company: its tables, 30 months of scores, the newest snapshot, and its state database."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    rng = np.random.default_rng(7)
    ids = np.char.add("A", np.char.zfill(np.arange(ACCOUNTS).astype(str), 7))
    names = np.array([f"{a} {b}" for a, b in itertools.product(WORDS, KINDS)])[rng.integers(0, 100, ACCOUNTS)]
    owners = np.array([f"owner-{n}@bench.example" for n in range(OWNERS)])[rng.integers(0, OWNERS, ACCOUNTS)]
    parents = np.where(rng.random(ACCOUNTS) < 0.05, ids[rng.integers(0, ACCOUNTS, ACCOUNTS)], None)
    since = pa.array(np.full(ACCOUNTS, np.datetime64("2022-01-01T00:00:00", "us")))
    accounts = {
        "id": ids,
        "created": since,
        "name": np.char.add(np.char.add(names, " "), np.arange(ACCOUNTS).astype(str)),
    }
    regions = np.array(["americas", "europe", "asia-pacific", "africa"])[rng.integers(0, 4, ACCOUNTS)]
    accounts |= {"owner": owners, "parent": pa.array(parents, pa.string()), "region": regions}
    pq.write_table(pa.table(accounts), FOLDER / "accounts.parquet")
    bought = np.datetime64("2026-01-01T00:00:00", "us") - rng.integers(1, 700, ACCOUNTS).astype("timedelta64[D]")
    pq.write_table(
        pa.table({"id": ids, "at": bought, "amount": rng.lognormal(8, 1, ACCOUNTS).round(2)}),
        FOLDER / "purchases.parquet",
    )
    (FOLDER / "garrison.toml").write_text(TOML)
    os.chdir(FOLDER)
    settings = load_settings(Path("garrison.toml"))
    value = rng.lognormal(9, 1, ACCOUNTS).round(2)
    score, course = rng.beta(1, 8, ACCOUNTS), []
    for n in range(MONTHS):
        at = datetime(2023 + (n + 7) // 12, (n + 7) % 12 + 1, 1, tzinfo=UTC)
        before = score
        score = np.clip(score + rng.normal(0, 0.03, ACCOUNTS), 0.001, 0.999)
        course.append((at, before, score))
        write_scores(settings, rng, ids, at, before, score, value, is_newest=n == MONTHS - 1)
    write_snapshot(settings, rng, ids, course[-1][0])
    write_state(settings, rng, ids, owners, value, course)
    command = [sys.executable, "-m", "monitoring"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for arguments in (["report", "--period", "2025-12"], ["owners"]):  # pages show what the night has made
        subprocess.run([*command, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)


def write_scores(settings, rng, ids, at, before, score, value, *, is_newest):  # noqa: PLR0913, PLR0917
    """Write one month's score table."""
    columns = {"account_id": pa.array(ids), "churn_90d": score, "churn_90d_value": score * value, "value": value}
    tiers = pa.DictionaryArray.from_arrays(
        pa.array((np.argsort(np.argsort(-value)) * 5 // len(ids)).astype(np.int32)), list("ABCDE")
    )
    columns |= {"tier": tiers.cast(pa.string()), "in_cohort_churn": rng.random(len(ids)) < 0.9}
    if is_newest:
        columns |= {"churn_90d_before": before, "churn_90d_low": score * 0.8, "churn_90d_high": score * 1.2}
        columns |= {"recommendation": np.where(score > 0.2, "act", "leave_alone"), "withheld": score < 0}
        columns |= {"why": np.where(score > 0.2, "the risk of leaving is high", "the risk of leaving is not high")}
        columns |= {"leaves_in_days": rng.uniform(5, 90, len(ids))}
    scores = ScoreTable(
        at, f"{at:%Y-%m}", {"churn": "churn-1"}, {"churn": (90,)}, "c", ("purchases",), None, pa.table(columns)
    )
    scores_folder(settings).mkdir(parents=True, exist_ok=True)
    scores.write(scores_folder(settings))


def write_snapshot(settings, rng, ids, at):
    """Write what the newest snapshot has that the console reads."""
    import pandas as pd

    frame = pd.DataFrame({"account_id": ids, "as_of": pd.Timestamp(at)})
    frame["days_to_renewal"] = np.where(rng.random(len(ids)) < 0.9, rng.integers(0, 365, len(ids)), np.nan)
    frame["days_since_touch"] = np.where(rng.random(len(ids)) < 0.7, rng.integers(0, 200, len(ids)), np.nan)
    # What accounts are compared by, to find those that are alike.
    for name, many in (("industry", 20), ("size", 4), ("plan", 5)):
        frame[name] = pd.Categorical.from_codes(rng.integers(0, many, len(ids)), [f"{name}-{n}" for n in range(many)])
    for name in ("seats", "spend_365d", "tenure_days"):
        frame[name] = rng.lognormal(5, 1, len(ids)).round()
    table = pa.Table.from_pandas(frame.astype(dict.fromkeys(("industry", "size", "plan"), str)), preserve_index=False)
    about = {
        "as_of": at.isoformat(),
        "sources": ["purchases"],
        "catalog": "c",
        "run": f"{at:%Y-%m}",
        "history": None,
        "position": 0,
    }
    snapshots_folder(settings).mkdir(parents=True, exist_ok=True)
    file = snapshots_folder(settings) / f"{at:%Y-%m-%dT%H%M%SZ}.parquet"
    pq.write_table(table.replace_schema_metadata({b"garrison": json.dumps(about).encode()}), file)
    assert StoredSnapshot.read(file, ("days_to_renewal",)).as_of == at


def write_state(settings, rng, ids, owners, value, course):  # noqa: PLR0913, PLR0917
    """Write 200,000 episodes with their events and letters, and the stored scores of the accounts that have one."""
    chosen = rng.choice(ACCOUNTS, EPISODES_MADE, replace=False)
    is_open, plays = rng.random(EPISODES_MADE) < OPEN_SHARE, ("revive_usage", "break_silence", "answer_tickets")
    causes, now = ("usage", "contact", "service"), to_micros(datetime.now(UTC))
    names = list(kinds.KINDS)
    episodes, events, letters, scores = [], [], [], []
    for n, (place, going) in enumerate(zip(chosen.tolist(), is_open.tolist(), strict=True)):
        month = MONTHS - 1 if going else int(rng.integers(0, MONTHS - 1))
        at, _, score = course[month]
        instant, kind, which = to_micros(at), names[n % 4], n % 3
        row = {"id": f"e{n:07}", "account_id": str(ids[place]), "kind": kind, "horizon": 90, "model": "churn-1"}
        row |= {"state": "notified" if going else "closed", "opened_as_of": instant, "last_as_of": instant}
        row |= dict.fromkeys(("opened_score", "peak_score", "last_score", "spoken_score"), float(score[place]))
        row |= {"value": float(value[place]), "expected": float(value[place] * score[place] * 0.3)}
        row |= {"cause": causes[which], "play": plays[which], "owner": str(owners[place]), "version": 2}
        row |= {"message_id": f"m{n:07}" if going else None, "closed_as_of": None if going else instant + 30 * DAY}
        row |= {"closed_at": row["closed_as_of"], "outcome": None if going else ("saved", "left", "recovered")[which]}
        row |= {"outcome_reason": None, "exited_as_of": row["closed_as_of"]}
        episodes.append(row)
        why = {"why": "risk of leaving", "score": float(score[place])}
        events.append(
            {
                "episode_id": row["id"],
                "seq": 1,
                "at": instant,
                "as_of": instant,
                "event": "opened",
                "by": "run",
                "details": why,
            }
        )
        last = (
            {"event": "notified", "details": {}}
            if going
            else {"event": "closed", "details": {"outcome": row["outcome"]}}
        )
        events.append({"episode_id": row["id"], "seq": 2, "at": instant + DAY, "as_of": instant, "by": "run", **last})
        if going:
            letter = {"id": row["message_id"], "episode_id": row["id"], "kind": "opened", "recipient": row["owner"]}
            letter |= {
                "subject": "At risk",
                "body": "",
                "state": "sent",
                "attempts": 1,
                "position": n,
                "created_at": now,
            }
            letters.append(letter | {"next_try_at": now, "sent_at": now - DAY})
            for month in range(MONTHS) if n % 20 == 0 else [MONTHS - 1]:
                scored, _, values = course[month]
                one = {"account_id": row["account_id"], "as_of": to_micros(scored), "target": "churn", "horizon": 90}
                one |= {"score": float(values[place]), "model": "churn-1", "catalog": "c", "sources": "purchases"}
                scores.append(one | {"value": row["value"], "in_cohort": True, "drivers": DRIVERS, "scored_at": now})
    figures = {f"psi churn_{horizon}d": 0.02 for horizon in (30, 60, 90)}
    with database.open(settings) as store:
        for at, *_ in course:
            verdict_store.write_verdict(
                store, RunVerdict(f"{at:%Y-%m}", at, at, at, (), figures, None, {"churn": "churn-1"})
            )
    with database.open(settings) as store, store.writing() as connection:
        for table, rows in ((EPISODES, episodes), (EPISODE_EVENTS, events), (OUTBOX, letters), (SCORES, scores)):
            for start in range(0, len(rows), 20_000):
                connection.execute(sa.insert(table), rows[start : start + 20_000])


def sign_in(settings):
    """Sign everybody in; returns the cookies by role."""
    from monitoring.console.sign_in.cookies import Cookie
    from monitoring.console.sign_in.sessions import Sessions

    with database.open(settings) as store, store.writing() as connection:
        sessions = Sessions(store, settings.console)
        return {
            role: {Cookie("session", False).name: sessions.start(connection, address, (), "link")}
            for role, address in PEOPLE.items()
        }


def list_pages(settings):
    """List every page without a parameter that somebody may see, with who may."""
    from starlette.routing import Route

    from monitoring.console.context import ConsoleContext
    from monitoring.console.pages import PAGES
    from monitoring.console.sign_in.access import get_roles

    with database.open(settings) as store:
        context = ConsoleContext(settings, store, None, None)
        found = [route for page in PAGES for route in page.routes(context) if isinstance(route, Route)]
    plain = [r for r in found if "GET" in (r.methods or ()) and "{" not in r.path and get_roles(r.endpoint)]
    return {r.path: get_roles(r.endpoint) for r in plain if r.path not in {"/portfolio", "/inbox", "/v1/episodes"}}


def list_visible(settings):
    """List accounts that each role sees, by role."""
    owners = pq.read_table("accounts.parquet", columns=["id", "owner"]).to_pandas()
    newest = max(scores_folder(settings).glob("*.parquet"))
    tiers = pq.read_table(newest, columns=["account_id", "tier"], partitioning=None).to_pandas()
    return {
        "manager": owners["id"].sample(min(20_000, len(owners)), random_state=7).tolist(),
        "owner": owners.loc[owners["owner"] == PEOPLE["owner"], "id"].tolist(),
        "sponsor": tiers.loc[tiers["tier"] == "A", "account_id"].head(5_000).tolist(),
    }


def choose_paths(rng, accounts, others):
    """Yield pages as a person opens them: by name of the page, and its address."""
    while True:
        query = {"order": rng.choice(("", "-")) + rng.choice(ORDERS)}
        for name, values, share in (
            ("show", (*SHOWN, "needs"), 0.6),
            ("tier", ("A", "B", "C", "D", "E"), 0.3),
            ("region", ("europe", "africa"), 0.2),
            ("owner", tuple(f"owner-{n}@bench.example" for n in range(50)), 0.2),
            ("recommendation", ("act", "leave_alone"), 0.2),
            ("search", ("beacon", "labs 77", "A00012", "nothing is like this", "1"), 0.3),
        ):
            if rng.random() < share:
                query[name] = rng.choice(values)
        yield "portfolio", f"/portfolio?{urlencode(query)}"
        yield "inbox", f"/inbox?show={rng.choice(('mine', 'all', 'resting'))}"
        yield "account", f"/accounts/{rng.choice(accounts)}"
        yield "episodes", f"/v1/episodes?limit={rng.choice((20, 50))}"
        yield from name_pages(others)


def name_pages(paths):
    """Yield pages without a parameter by name and address."""
    for path in paths:
        yield path.strip("/").split("/")[0], path


class Connection:
    """One connection of a browser, as cheap as can be: the client shares the cores with the server.

    Args:
        port: Of the server.
        cookies: That it sends.
    """

    def __init__(self, port, cookies):
        sent = "; ".join(f"{name}={value}" for name, value in cookies.items())
        self._port, self._streams = port, None
        self._head = f"host: 127.0.0.1:{port}\r\naccept: text/html\r\ncookie: {sent}\r\n\r\n"

    async def get(self, path):
        """Return the status, the body, and the milliseconds that the server took."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\n{self._head}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields["content-length"]))
        return int(head.split(" ", 2)[1]), body, float(fields["server-timing"].partition("dur=")[2])

    def close(self):
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()


async def browse(connection, paths, records, role, ends, rng):  # noqa: PLR0913, PLR0917  # each its own
    """Ask for one page after the other until the time is over; the next page of a list is followed too."""
    while time.monotonic() < ends:
        name, path = next(paths)
        while path and time.monotonic() < ends:
            began = time.perf_counter()
            status, body, took = await connection.get(path)
            seen = 1000 * (time.perf_counter() - began)
            records.append((role, name, path, took, len(body), status, seen))
            path = ""
            if name == "portfolio" and rng.random() < 0.5 and (at := body.find(b'" rel="next"')) > 0:
                start = body.rfind(b'href="', 0, at) + 6
                path = body[start:at].decode().replace("&amp;", "&")
    connection.close()


async def load(  # noqa: PLR0913  # each its own
    port, settings, cookies, people, records, *, connections=CONNECTIONS, seconds=SECONDS
):
    """Ask at some connections, each in one role, while somebody writes once a second."""
    ends = time.monotonic() + seconds
    roles = [list(cookies)[n % len(cookies)] for n in range(connections)]
    tasks = [
        browse(Connection(port, cookies[role]), people[role], records, role, ends, random.Random(n))  # noqa: S311
        for n, role in enumerate(roles)
    ]
    await asyncio.gather(*tasks, write_now_and_then(settings, ends))


async def write_now_and_then(settings, ends):
    """Change the state database once a second, as the acts of people do."""
    while time.monotonic() < ends:
        await asyncio.to_thread(sign_in, settings)
        await asyncio.sleep(1)


def list_processes(pid):
    """List a process and all below it that have not ended."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            found += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
    return found


def read_cpu(pid):
    """Read the CPU seconds of a process and all below it."""
    stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in list_processes(pid)]
    return sum(int(cells[11]) + int(cells[12]) for cells in stats) / os.sysconf("SC_CLK_TCK")


def is_idle(pid):
    """Return whether a process and all below it do next to nothing for two seconds."""
    before = read_cpu(pid)
    time.sleep(2)
    return read_cpu(pid) - before < IDLE_SECONDS


def read_memory(pid):
    """Read the memory of a process and all below it in GiB; what they share counts once."""
    kib = 0
    for one in list_processes(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 2**20


class MemoryWatch(threading.Thread):
    """Reads the memory of a process and all below it, once a second.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak = pid, 0.0

    def run(self):
        """Read until the process is gone."""
        while (now := read_memory(self.pid)) > 0:
            self.peak = max(self.peak, now)
            time.sleep(1)


def run():
    """Serve the company, and measure."""
    if not (FOLDER / "var/bench/garrison.db").exists() or "--again" not in sys.argv:
        prepare()
        os.chdir("../../..")
    root, figures = Path.cwd(), {}
    os.chdir(FOLDER)
    settings = load_settings(Path("garrison.toml"))
    cookies, others, port = sign_in(settings), list_pages(settings), find_free_port()
    people = {
        role: choose_paths(random.Random(n), accounts, others)  # noqa: S311
        for n, (role, accounts) in enumerate(list_visible(settings).items())
    }
    # Who looks after the models sees no account: the connections of that role walk through the pages that it has.
    people["data"] = itertools.cycle(list(name_pages(p for p, roles in others.items() if Role.DATA_SCIENTIST in roles)))
    command = [sys.executable, "-m", "monitoring", "console", "--port", str(port), "--workers", WORKERS]
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            memory = MemoryWatch(server.pid)
            memory.start()
            wait_until(lambda: is_up(f"http://127.0.0.1:{port}"), seconds=600)
            figures["start_s"] = time.monotonic() - began
            wait_until(partial(is_idle, server.pid), seconds=600)  # the others read the accounts one after the other
            figures["all_started_s"] = time.monotonic() - began
            asyncio.run(load(port, settings, cookies, people, [], seconds=8))  # warm
            records, before = [], read_cpu(server.pid)
            asyncio.run(load(port, settings, cookies, people, records))
            cpu, now = read_cpu(server.pid), read_memory(server.pid)
            alone, loads = [], os.getloadavg()[0]
            for role in cookies:
                asyncio.run(load(port, settings, {role: cookies[role]}, people, alone, connections=1, seconds=5))
        finally:
            server.terminate()
    os.chdir(root)
    figures |= {"requests": len(records), "cpu_ms_a_request": 1000 * (cpu - before) / len(records)}
    figures |= {"requests_a_second": len(records) / SECONDS, "load_average": loads, "cores": os.cpu_count()}
    figures |= {
        "peak_gib": memory.peak,
        "then_gib": now,
        "workers": int(WORKERS),
        "accounts": ACCOUNTS,
        "episodes": EPISODES_MADE,
        "months": MONTHS,
    }
    # Pages of reports are not for owners: 403 is right there.
    figures |= {"connections": CONNECTIONS, "faults": sum(r[5] not in {200, 403} for r in records)}
    pages = {}
    for name in sorted({r[1] for r in records}):
        own = [r for r in records if r[1] == name and r[5] == 200]
        single = [r[3] for r in alone if r[1] == name and r[5] == 200]
        if own:
            pages[name] = {
                "n": len(own),
                "p50_ms": statistics.median(r[3] for r in own),
                "p95_ms": float(np.quantile([r[3] for r in own], 0.95)),
                "p95_seen_ms": float(np.quantile([r[6] for r in own], 0.95)),
                "alone_p95_ms": float(np.quantile(single, 0.95)) if single else None,
                "largest_kb": max(r[4] for r in own) / 1000,
            }
            print(f"  {name:<14}", {k: v and round(v, 1) for k, v in pages[name].items()})
    figures |= {
        "p95_ms": max(p["p95_ms"] for p in pages.values()),
        "p95_seen_ms": max(p["p95_seen_ms"] for p in pages.values()),
        "alone_p95_ms": max(p["alone_p95_ms"] or 0.0 for p in pages.values()),
        "largest_kb": max(p["largest_kb"] for p in pages.values()),
    }
    for role, _, path, took, _, status, _ in sorted(records, key=lambda r: -r[3])[:12]:
        print(f"  {took:7.0f} ms {status} {role:<8} {path[:120]}")
    for role, _, path, _, _, status, _ in [r for r in records if r[5] not in {200, 403}][:5]:
        print(f"  fault {status} {role} {path[:120]}")
    measure.write("console", figures | {"pages": pages}, ("duckdb", "starlette", "uvicorn", "pyarrow"))


def is_up(origin):
    """Return whether the server answers."""
    try:
        return httpx.get(f"{origin}/healthz").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    run()
