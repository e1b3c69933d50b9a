"""`make bench-serving`: the HTTP service beside bare FastAPI on uvicorn, with the same booster on the same rows.

Both have one worker. The same client, in this process, sends requests to each in turns, some seconds at a time, over 8
connections that stay open, each with one request under way, sent as ready bytes. Ids come without repetition until all
accounts have had their turn, and then anew, so that no cache of answers would help. Garrison checks a key, counts its
metrics and writes its access log meanwhile; the competitor does none of it. By id Garrison returns the score that the
batch stored, as long as the models are the same; what it takes to predict each anew, as the competitor does, is
measured as well (`predicting_…`).

    bench_serving.py [--accounts 100000] [--rounds 7] [--seconds 2] [--soak 200000]
"""

import argparse
import asyncio
import dataclasses
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path

import bench_batch
import measure
import numpy as np
import uvloop
from generated import NOW, founded

from features.state import database
from serving.api import auth
from serving.batch import run
from serving.scoring import score_table, snapshot_store
from serving.scoring.scorer import load_champions
from training.registry import promotion_log

FOLDER = Path("var/bench/serving").absolute()
RIVAL = FOLDER / "rival"
CONNECTIONS = 8
EVENTS = {"usage": 270, "tickets": 20, "purchases": 10}  # of a posted history


class Connection(asyncio.Protocol):
    """Sends requests one after the other, each when the last one is answered, and keeps the time that each took."""

    def __init__(self, requests, until, done):
        self._requests, self._until, self._done = requests, until, done
        self.took, self.bad, self._read = [], 0, b""

    def connection_made(self, transport):
        self._transport = transport
        self._send()

    def _send(self):
        request = next(self._requests, None)
        self._began = time.perf_counter()
        if request is None or self._began > self._until:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data):
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._read.find(b"content-length: ") + 16
        length = int(self._read[at : self._read.find(b"\r", at)])
        if len(self._read) < head + 4 + length:
            return
        self.took.append(time.perf_counter() - self._began)
        self.bad += self._read[9:12] != b"200" or b'"error"' in self._read
        self._read = b""
        self._send()

    def connection_lost(self, _error):
        if not self._done.done():
            self._done.set_result(None)


def ask(port, requests, *, connections=CONNECTIONS, seconds=float("inf"), warm=True):
    """Send requests until there are no more or time is over; return requests a second, and the times taken in s.

    The benchmark stops at a bad answer, but for those of a service that is not warm yet: on a slow machine its first
    posted history may take too long.
    """

    async def asking():
        loop, until, given = asyncio.get_running_loop(), time.perf_counter() + seconds, iter(requests)
        began, made = time.perf_counter(), []
        for _ in range(connections):
            done = loop.create_future()
            made.append(
                ((await loop.create_connection(lambda d=done: Connection(given, until, d), "127.0.0.1", port)), done)
            )
        for _, done in made:
            await done
        return time.perf_counter() - began, [connection for (_, connection), _ in made]

    took, found = uvloop.run(asking())
    bad = sum(connection.bad for connection in found)
    if bad and warm:
        raise SystemExit(f"{bad} requests were not answered as they should be")
    times = np.concatenate([connection.took for connection in found])
    return len(times) / took, times


def post(path, body, key=None):
    """Return a request as bytes."""
    text = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(text)}"]
    head += [f"authorization: Bearer {key}"] if key else []
    return "\r\n".join([*head, "", ""]).encode() + text


def ours(names, key, detail="scores"):
    """Return requests to Garrison, by id."""
    return [post("/v1/score", {"accounts": [name], "detail": detail}, key) for name in names]


def histories(count, key, detail="scores"):
    """Return requests with whole histories, each of another account."""
    draw, found = np.random.default_rng(3), []
    for i in range(count):
        days = np.sort(draw.uniform(1, 200, 300))
        at = [(NOW - timedelta(days=float(d))).isoformat() for d in days]
        uses = [{"used_at": t, "user_id": f"u{k % 5}", "feature": "charts", "count": k % 20} for k, t in enumerate(at)]
        tickets = [{"ticket_id": f"T{k}", "opened_at": t, "priority": "high"} for k, t in enumerate(at)]
        bought = [{"purchased_at": t, "amount": "900", "kind": "expansion"} for t in at]
        account = {"account_id": f"P-{i}", "created_at": (NOW - timedelta(days=250)).isoformat(), "seats": 20}
        rows = {"usage": uses, "tickets": tickets, "purchases": bought}
        item = {"account": account} | {table: rows[table][:size] for table, size in EVENTS.items()}
        found.append(post("/v1/score", {"accounts": [item], "as_of": NOW.isoformat(), "detail": detail}, key))
    return found


@contextmanager
def running(command, path, **environment):
    """Run a server in processes of its own; yield its port, its process and the seconds until `path` returned 200."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", *command, "--port", str(port)]
    began = time.perf_counter()
    log = (FOLDER / f"{command[0]}.log").open("w")
    with (
        log,
        subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True, env=os.environ | environment) as process,
    ):
        try:
            while status(port, path) != http.client.OK:
                if process.poll() is not None or time.perf_counter() - began > 120:
                    raise SystemExit(f"{command[0]} did not start: {log.name}")
                time.sleep(0.01)
            yield port, process, time.perf_counter() - began
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def status(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def service():
    return running(["serving", "serve", "--config", str(FOLDER / "garrison.toml"), "--workers", "1"], "/readyz")


def rival():
    options = ["--app-dir", str(Path(__file__).parent), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    return running(["uvicorn", "fastapi_rival:app", *options, "--log-level", "warning"], "/docs", RIVAL=str(RIVAL))


def beside(settings, names, key, options):
    """Measure scores by id, of Garrison and of the competitor in turns."""
    answers = snapshot_store.SnapshotStore.load(settings, load_champions(settings))
    matrix = answers.rows.matrices["churn"]
    np.savez(RIVAL / "rows.npz", ids=np.array(answers.rows.account_ids.tolist()), matrix=matrix)
    found = {"ours": [], "rival": []}
    with service() as (our_port, _, _), rival() as (rival_port, _, _):
        same(our_port, rival_port, names[:50], key)
        given = {"ours": cycle(ours(names, key)), "rival": cycle([post("/score", {"account_id": n}) for n in names])}
        ports = {"ours": our_port, "rival": rival_port}
        for name, requests in given.items():
            ask(ports[name], requests, seconds=1)  # to warm up
        for turn in range(options.rounds):
            for name in list(given)[:: 1 if turn % 2 else -1]:
                found[name].append(ask(ports[name], given[name], seconds=options.seconds))
    figures = {}
    for name, rounds in found.items():
        figures[f"{name}_per_s"] = statistics.median(rate for rate, _ in rounds)
        for share in (50, 99):
            each = [np.percentile(times, share) for _, times in rounds]
            figures[f"{name}_p{share}_ms"] = 1000 * statistics.median(each)
    return {
        "throughput_ratio": figures["ours_per_s"] / figures["rival_per_s"],
        "p99_ratio": figures["ours_p99_ms"] / figures["rival_p99_ms"],
    } | figures


def forget(settings):
    """Make the service predict by id: its stored results become those of another run than the snapshot."""
    said = score_table.ScoreTable.read(score_table.find_newest(settings))
    dataclasses.replace(said, run="another").write(score_table.scores_folder(settings))


def same(our_port, rival_port, names, key):
    """Stop unless both return the same scores of some accounts."""

    def asked(port, request):
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(request)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            return json.loads(answer.read())

    for name in names:
        mine = asked(our_port, ours([name], key)[0])["results"][0]["scores"]["churn_90d"]["score"]
        theirs = asked(rival_port, post("/score", {"account_id": name}))["probability"]
        if abs(mine - theirs) > 1e-12:
            raise SystemExit(f"{name}: {mine} and {theirs}")


def alone(settings, names, key, options):
    """Measure Garrison alone on one connection: by id, with drivers, with whole histories, in turns.

    Beside the time that the client waits stands the CPU time that the worker takes, which other work on the machine
    moves less.
    """
    with database.open(settings) as opened:
        explained = [r["account_id"] for r in opened.latest_scores(NOW, "churn", 90) if r["drivers"]]
    np.random.default_rng(5).shuffle(explained)
    kinds = {
        "by_id": ours(names, key),
        "drivers": ours(names[::-1], key, "drivers"),
        "stored_drivers": ours(explained, key, "drivers"),
        "history": histories(20 * options.rounds, key),
        "history_drivers": histories(20 * options.rounds, key, "drivers"),
    }
    took, busy = {name: [] for name in kinds}, dict.fromkeys(kinds, 0.0)
    given = {name: cycle(requests) for name, requests in kinds.items()}
    with service() as (port, process, _):
        for requests in given.values():
            ask(port, islice(requests, 20), connections=1, warm=False)
        for _ in range(options.rounds):
            for name, requests in given.items():
                few, before = islice(requests, 20 if name.startswith("history") else 300), cpu_seconds(process.pid)
                took[name].extend(ask(port, few, connections=1)[1])
                busy[name] += cpu_seconds(process.pid) - before
    cpu = {f"{name}_cpu_ms": 1000 * busy[name] / len(times) for name, times in took.items()}
    p50 = {name: 1000 * float(np.median(times)) for name, times in took.items()}
    return (
        {
            "history_over_by_id": p50["history"] / p50["by_id"],
            "drivers_over_plain": p50["drivers"] / p50["by_id"],
            "stored_drivers_over_plain": p50["stored_drivers"] / p50["by_id"],
            "explained_by_batch": len(explained) / len(names),
        }
        | {f"{name}_p50_ms": value for name, value in p50.items()}
        | cpu
    )


def starting(options):
    """Measure the time until the service is ready, and the time to import the two libraries that it needs."""
    ready, imports = [], []
    for _ in range(min(options.rounds, 5)):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import bentoml, lightgbm"], check=True)
        imports.append(time.perf_counter() - began)
        with service() as (_, _, seconds):
            ready.append(seconds)
    found = {"ready_s": statistics.median(ready), "import_s": statistics.median(imports)}
    return {"ready_over_import": found["ready_s"] / found["import_s"]} | found


def soak(names, key, count):
    """Send `count` requests; return the worker's memory before, after a tenth of them, and at the end, in MiB."""
    requests = ours(names, key)
    with service() as (port, process, _):
        before = memory(process.pid)
        asked, seen = 0, []
        for part in (count // 10, count - count // 10):
            ask(port, (requests[i % len(requests)] for i in range(part)))
            asked += part
            seen.append(memory(process.pid))
    growth = seen[1] - seen[0]
    print(
        f"  soak: {asked:,} requests; {before:.1f} MiB before, {seen[0]:.1f} warm, {seen[1]:.1f} after: {growth:+.1f}"
    )
    return {"soak_requests": asked, "soak_before_mib": before, "soak_warm_mib": seen[0], "soak_after_mib": seen[1]}


def memory(pid):
    """Return resident MiB of the largest process below `pid`: the worker."""
    return max(mib for mib, _ in below(pid))


def cpu_seconds(pid):
    """Return the CPU seconds of all threads that the processes below `pid` have taken."""
    stats = [(Path("/proc") / worker / "stat").read_text().rpartition(")")[2].split() for _, worker in below(pid)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def below(pid):
    """Return resident MiB and id of the processes that `pid` has started."""
    found = []
    for status_file in Path("/proc").glob("[0-9]*/status"):
        try:
            text = dict(line.split(":\t", 1) for line in status_file.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        if text.get("PPid", "").strip() == str(pid) and "VmRSS" in text:
            found.append((int(text["VmRSS"].split()[0]) / 1024, status_file.parent.name))
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--batch-accounts", type=int, default=1_000_000)
    parser.add_argument("--soak", type=int, default=0, help="requests; nothing else is measured then")
    options = parser.parse_args()
    print(__doc__.split("\n\n")[1])
    settings = founded(FOLDER, options.accounts)
    RIVAL.mkdir()
    (RIVAL / "booster.txt").write_text(
        promotion_log.load_champions(settings)["churn"].horizon_models[0].text, encoding="utf-8"
    )
    run.score_accounts(settings, None, as_of=NOW, explain=score_table.Explain.ABOVE)
    names = tables_ids(options.accounts)
    with database.open(settings) as opened:
        key = auth.create_key(opened, "bench")
    if options.soak:
        soak(names, key, options.soak)
        return
    figures = beside(settings, names, key, options)
    forget(settings)
    anew = beside(settings, names, key, options)
    figures |= {f"predicting_{name}": value for name, value in anew.items() if not name.startswith("rival")}
    run.score_accounts(settings, None, as_of=NOW, explain=score_table.Explain.ABOVE)
    figures |= alone(settings, names, key, options)
    figures |= starting(options) | bench_batch.figures(options.batch_accounts)
    measure.write("serving", figures, ["bentoml", "fastapi", "httptools", "lightgbm", "uvicorn", "uvloop"])


def tables_ids(accounts):
    """Return all account ids in random order."""
    names = [f"A-{i:07}" for i in range(accounts)]
    np.random.default_rng(11).shuffle(names)
    return names


if __name__ == "__main__":
    main()
