"""A small company whose alerts ran every Monday of eight weeks, with people who acted in between."""

import csv
import shutil
from datetime import UTC, datetime, timedelta

from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from monitoring.alerts import acts, mutes
from monitoring.alerts.run_alerts import run_alerts
from monitoring.binding.absences import note_absence
from serving.batch import run as batch
from serving.scoring.score_table import Explain
from tests.support.night_company import configure, write_company, write_table
from training.registry import promotion_log

FIRST = datetime(2025, 7, 21, tzinfo=UTC)
MONDAYS = [FIRST + timedelta(weeks=n) for n in range(8)]
# These buy nothing from such a day on: of accounts that use less and less, every other one; and as many of the others.
LEAVING = {
    f"A-{i:03}": datetime(2025, 8, 4, tzinfo=UTC) + timedelta(days=i // 2) for i in (*range(0, 60, 8), *range(1, 60, 8))
}


def write_past_company(folder):
    """Write the company with leaving accounts, and run its alerts on eight Mondays."""
    company = write_company(folder, port=9)
    # What is learned here is quick; each account is worth a visit, and owners have time for two alerts a week.
    with company.config.open("a", encoding="utf-8") as file:
        file.write("\n[stakes]\nvalue = 2000.0\n\n# Half an hour each.\n[capacity]\nhours = 1.0  # two alerts a week\n")
    _stop_purchases(folder)
    settings = load_settings(company.config)
    champions = promotion_log.load_champions(settings)
    with History.open(settings) as history:
        for number, at in enumerate(MONDAYS):
            batch.score_accounts(settings, None, as_of=at, explain=Explain.ABOVE)
            with database.open(settings) as store:
                done = run_alerts(settings, store, history, champions, as_of=at)
                _act(store, number, done)
    return company


def copy_past_company(source, folder):
    """Copy the company into a folder of its own; returns its settings file."""
    shutil.copytree(source, folder)
    config = configure(folder, port=9).config
    text = (source / "garrison.toml").read_text(encoding="utf-8").replace(str(source), str(folder))
    config.write_text(text, encoding="utf-8")
    return config


def _stop_purchases(folder):
    with (folder / "purchases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = [
        r
        for r in rows
        if datetime.fromisoformat(r["purchased_at"]) < LEAVING.get(r["account_id"], datetime.max.replace(tzinfo=UTC))
    ]
    write_table(folder / "purchases.csv", kept)


def _act(store, number, done):
    """Do what people do between two runs: acknowledge, snooze, close, hand over, mute, and go on holiday."""
    opened = [one.episode for one in done.opened]
    if number == 0:
        acts.acknowledge(store, opened[0], by="ann")
        acts.hand_over(store, opened[1], to="new@harbour.test", by="ann", reason="she knows them")
        acts.snooze(store, opened[2], until=datetime.now(UTC) + timedelta(days=9), by="bob")
        acts.close(store, opened[3], outcome="false_alarm", by="bob", reason="a holiday")
    if number == 1:
        day = datetime.now(UTC) + timedelta(days=30)
        mutes.mute(store, done.opened[0].score.account_id, until=day, kind=None, reason="in court", by="cy")
        note_absence(store, "o1@harbour.test", until=day, deputy="o2@harbour.test")
