"""Asks a service for its health all the while, and looks at its memory, from a process of its own.

In the process that attacks, making a large body would keep the watch from its turn, and look like a slow answer.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
from http import HTTPStatus

import httpx
import psutil

EVERY_S = 0.05


class HealthWatch:
    """Watches a service while the `with` statement lasts; afterwards it has the figures.

    Args:
        url: Of the service.
        supervisor: Process id of the service's supervisor.

    Attributes:
        took: Seconds that each check took.
        failed: How many checks were not answered 200.
        peak: Most memory that was seen, in MiB.
    """

    def __init__(self, url, supervisor):
        self._line = [sys.executable, __file__, url, str(supervisor)]
        self.took, self.failed, self.peak = [], 0, 0.0

    def __enter__(self):
        self._process = subprocess.Popen(self._line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process.stdout.readline()  # it has begun
        return self

    def __exit__(self, *_):
        said, _ = self._process.communicate("over\n")
        self.took, self.failed, self.peak = json.loads(said)


def read_memory(supervisor):
    """Return the memory that a service's processes have for themselves, in MiB."""
    process, found = psutil.Process(supervisor), 0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += each.memory_full_info().uss
    return found / 2**20


def watch(url, supervisor, is_over):
    """Ask until it is over; return the seconds of each check, how many failed, and the most memory in MiB."""
    took, failed, peak = [], 0, read_memory(supervisor)
    with httpx.Client(timeout=30) as http:
        print("begun", flush=True)
        while not is_over.wait(EVERY_S):
            began = time.perf_counter()
            try:
                failed += http.get(f"{url}/healthz").status_code != HTTPStatus.OK
            except httpx.HTTPError:
                failed += 1
            took.append(time.perf_counter() - began)
            if len(took) % 10 == 0:
                peak = max(peak, read_memory(supervisor))
    return took, failed, peak


def main():
    """Watch until a line comes; print the figures as JSON."""
    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), is_over.set()), daemon=True).start()
    print(json.dumps(watch(sys.argv[1], int(sys.argv[2]), is_over)))


if __name__ == "__main__":
    main()
