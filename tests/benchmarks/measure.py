"""What every benchmark does: run a part in a process of its own, and write the figures for machines."""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from features.core.atomic_write import write_atomically


def alone(script, part, *args):
    """Run one part of a benchmark in a process of its own; gives what it printed last, as JSON."""
    command = [sys.executable, script, part, *map(str, args)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."})
    return json.loads(done.stdout.splitlines()[-1])


def answer(**figures):
    """What a part gives back, with its peak memory in GiB."""
    print(json.dumps(figures | {"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))


def seconds(work, times=1):
    """The shortest wall time of several runs, and what the last gave."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        result = work()
        took.append(time.perf_counter() - start)
    return min(took), result


def cpu_seconds(work, times=1):
    """As `seconds`, and then the CPU time of all threads in the run that took the least of it."""
    took, cpu = [], []
    for _ in range(times):
        start, busy = time.perf_counter(), time.process_time()
        result = work()
        took.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    return min(took), min(cpu), result


def write(name, figures, libraries, goals=None):
    """Print the figures as a table and write them to var/bench/NAME.json, with those that have figures of their own.

    `goals` are least values by figure, or most values where they are negative: -50 is "at most 50".
    """
    goals = goals or {}
    for key, value in figures.items():
        if isinstance(value, dict):
            continue
        said = f"{value:,.4g}" if isinstance(value, float) else str(value)
        print(f"  {key:<34} {said:<12}{_judge(value, goals[key]) if key in goals else ''}".rstrip())
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    about = {"machine": machine, "versions": {library: version(library) for library in libraries}}
    about |= {"goals": goals} if goals else {}
    file = Path("var/bench") / f"{name}.json"
    with write_atomically(file) as part:
        part.write_text(json.dumps(figures | about, indent=2) + "\n", encoding="utf-8")
    print(f"written to {file}")


def _judge(value, goal):
    is_met = value >= goal if goal >= 0 else value <= -goal
    return f"goal {'at least' if goal >= 0 else 'at most'} {abs(goal):g}: {'met' if is_met else 'MISSED'}"
