"""`make bench-replay [ACCOUNTS=400]`: three months of real nights on tidewater, then their replay, message by message.

Each night scores and raises alerts as `serving score` and `monitoring alert` do; every week people acknowledge, close,
snooze, hand over and mute. The replay must write the same messages and decide on the same candidates.
"""

import contextlib
import random
import re
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import measure

from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from monitoring.alerts import acts, mutes
from monitoring.alerts.run_alerts import run_alerts
from monitoring.replay import replay
from serving.batch import run as batch
from serving.scoring.score_table import Explain
from tests.support.commands import run_command
from training.registry import promotion_log

EXAMPLE = Path("docs/examples/tidewater.toml").absolute()
FOLDER = Path("var/bench/replay/company")
TRAINED, FIRST = "2025-07-01", datetime(2025, 7, 1, tzinfo=UTC)
NIGHTS = [FIRST + timedelta(days=n) for n in range(92)]


def prepare(accounts):
    """Make the company, train and promote its champions on what was known by July."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    toml = re.sub(r"(?m)^(\w+ += \{ path = )\".*/tidewater/(\w+)\"", r'\1"tidewater/\2"', EXAMPLE.read_text())
    (FOLDER / "tidewater.toml").write_text(toml)
    of = ("--config", "tidewater.toml")
    sample = ("features", "sample", "tidewater", "--out", "tidewater", "--accounts", accounts, "--months", "24")
    promote = ("training", "promote", "latest", "--reason", "a benchmark", *of)
    for words in (sample, ("training", "fit", "--as-of", TRAINED, *of), promote):
        done = run_command(*words, cwd=FOLDER)
        if done.returncode:
            sys.exit(done.stderr)


def act(store, done, draw):
    """Do what people do in a week, by chance; returns how much that was."""
    opened = [one for one in done.opened if one.binding.owner is not None]
    picked = draw.sample(opened, min(4, len(opened)))
    later = datetime.now(UTC) + timedelta(days=10)
    for number, one in enumerate(picked):
        if number == 0:
            acts.acknowledge(store, one.episode, by="ann")
        elif number == 1:
            acts.close(store, one.episode, outcome="false_alarm", by="ann", reason="a holiday")
        elif number == 2:
            acts.hand_over(store, one.episode, to="other@tidewater.example", by="bob")
        else:
            acts.snooze(store, one.episode, until=later, by="bob")
            mutes.mute(store, one.score.account_id, until=later, reason="in court", by="cy")
    return len(picked)


def run_nights(settings):
    """Score and alert each night; returns what people did."""
    draw, acted = random.Random(7), 0  # noqa: S311  # nothing secret here
    champions = promotion_log.load_champions(settings)
    with History.open(settings) as history:
        for at in NIGHTS:
            batch.score_accounts(settings, None, as_of=at, explain=Explain.ABOVE)
            with database.open(settings) as store:
                done = run_alerts(settings, store, history, champions, as_of=at)
                acted += act(store, done, draw) if at.weekday() == 0 else 0
            if at.weekday() == 0:
                print(f"{at:%Y-%m-%d}: {len(done.opened)} opened, {len(done.continued)} continue", flush=True)
    return acted


def main():
    """Run the nights, replay them, and write the counts for machines."""
    prepare(sys.argv[1] if len(sys.argv) > 1 else "400")
    with contextlib.chdir(FOLDER):
        settings = load_settings(Path("tidewater.toml"))
        began = time.perf_counter()
        acted = run_nights(settings)
        nights = time.perf_counter()
        end = NIGHTS[-1] + timedelta(days=1)
        result = replay.run(settings, since=FIRST, until=end, with_curve=False)
        ended = time.perf_counter()
    equality = result.equality
    print(equality.describe(), *equality.differences, sep="\n")
    figures = {name: value for name, value in equality.as_dict().items() if name != "differences"}
    figures |= {"acts": acted, "acts_not_repeated": result.failed_acts}
    figures |= {"alerts": result.figures.alerts, "left": result.figures.left, "told": result.figures.told}
    figures |= {"seconds_of_nights": nights - began, "seconds_of_replay": ended - nights}
    measure.write("replay", figures, ("lightgbm", "duckdb"))
    if not equality.is_equal:
        sys.exit(1)


main()
