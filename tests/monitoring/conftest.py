"""A small company with accounts and owners, its state database, and SMTP servers that behave as told."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller

from features.core.timestamps import to_micros
from features.settings.load import load_settings
from features.state import database
from features.state.tables import SCORES
from monitoring.alerts import lifecycle
from monitoring.alerts.limits import Thresholds
from monitoring.binding.account_records import AccountRecord
from monitoring.binding.bindings import BindingRules
from tests.support.commands import run_command
from tests.support.ports import find_free_port
from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel
from training.models.model import Model
from training.registry import promotion_log

LIMITS = Thresholds("churn-1", enter=0.6, leave=0.4)
# Twice its odds are those of 0.6.
BASE_RATE = 3 / 7
DRIVERS = [
    {
        "feature": "plan",
        "family": "plan",
        "text": "plan: basic",
        "contribution": 0.9,
        "actionable": False,
        "play": None,
    },
    {
        "feature": "usage_trend_30d",
        "family": "usage trend",
        "text": "usage fell 62 % against the 30 days before",
        "contribution": 0.7,
        "actionable": True,
        "play": "revive_usage",
    },
    {
        "feature": "open_tickets",
        "family": "open tickets",
        "text": "4 tickets stand open",
        "contribution": 0.5,
        "actionable": True,
        "play": "answer_tickets",
    },
]

TOML = """
[company]
name = "Harbour"
currency = "EUR"
[paths]
var = "{folder}/var"
mlruns = "{folder}/mlruns"
[sources]
accounts = {{ path = "accounts.csv" }}
purchases = {{ path = "purchases.csv" }}
[tables.accounts]
source = "accounts"
columns = {{ account_id = "id", created_at = "created", name = "name", owner_email = "owner" }}
[tables.purchases]
source = "purchases"
columns = {{ account_id = "id", purchased_at = "at", amount = "amount" }}
{tables}
[episodes]
exit_days = 3
[churn]
cohort = {{ kind = "active" }}
label = {{ kind = "no_purchase" }}
horizons = [90]
"""
USAGE = """
[sources.usage]
path = "usage.csv"
[tables.usage]
source = "usage"
columns = { account_id = "id", used_at = "at" }
"""


def day(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Company:
    """Its settings, its state database, and short ways to set the scene."""

    def __init__(self, folder, url=None):
        self.folder, self.file, self.url, self.limits = folder, folder / "garrison.toml", url, LIMITS
        self.tables = ""
        self.alerts = {"per_owner": 10, "folder": str(folder / "letters")}
        self.accounts({a: f"{a.lower()}@owners.test" for a in "ABCDE"})
        self.purchases([f"A,{at:%Y-%m-%d},10" for at in pd.date_range("2024-01-02", "2024-12-31", freq="7D")])
        self.configure()
        self.state = database.open(self.settings)

    def configure(self, **alerts):
        self.alerts = {k: v for k, v in (self.alerts | alerts).items() if v is not None}
        lines = [f"{k} = {_toml(v)}" for k, v in self.alerts.items()]
        url = "" if self.url is None else f'state_url = "{self.url}"\n'
        self.file.write_text(
            url + TOML.format(folder=self.folder, tables=self.tables) + "[alerts]\n" + "\n".join(lines) + "\n"
        )
        self.settings = load_settings(self.file)
        return self.settings

    def lead(self, days):
        """Leave the owners so many days before the horizon begins."""
        churn = self.settings.churn.model_copy(update={"lead_days": days})
        self.settings = self.settings.model_copy(update={"churn": churn})

    def mail_to(self, server, **more):
        email = {"host": "127.0.0.1", "port": server.port, "sender": "Garrison <alerts@harbour.test>"}
        return self.configure(folder=None, email=email | {"security": "none"} | more)

    def accounts(self, owners, names=None):
        self.owners, self.names = owners, names or {a: f"Company {a}" for a in owners}
        rows = [f'{a},2023-01-01,"{self.names[a]}","{owner or ""}"' for a, owner in owners.items()]
        (self.folder / "accounts.csv").write_text("id,created,name,owner\n" + "\n".join(rows) + "\n")

    def purchases(self, rows):
        """Write the purchases: "account,date,amount" each; by default A buys every Tuesday of 2024."""
        (self.folder / "purchases.csv").write_text("\n".join(["id,at,amount", *rows]) + "\n")

    def usage(self, rows):
        """Write the usage, "account,date" each, and map its table."""
        (self.folder / "usage.csv").write_text("\n".join(["id,at", *rows]) + "\n")
        self.tables = USAGE
        self.configure()

    def bindings(self, accounts):
        records = {a: AccountRecord(self.names[a], self.owners[a]) for a in accounts if a in self.owners}
        return BindingRules(self.settings, {}).bind(records, accounts, {})

    def score(self, as_of, scores, **rest):
        """Store churn scores: account to probability, or to a row's differing columns."""
        row = {
            "as_of": to_micros(day(as_of)),
            "target": "churn",
            "horizon": 90,
            "model": LIMITS.model,
            "catalog": "c",
            "sources": "usage,purchases",
            "value": 12_000.0,
            "in_cohort": True,
            "drivers": DRIVERS,
            "scored_at": 0,
        }
        given = {a: s if isinstance(s, dict) else {"score": s} for a, s in scores.items()}
        rows = ({**row, **rest, "account_id": a, **columns} for a, columns in given.items())
        texts = ({**row, "drivers": json.dumps(row["drivers"])} for row in rows)
        self.state.write_scores(tuple(row[c.name] for c in SCORES.columns) for row in texts)

    def alert(self, as_of=None, **rest):
        """Run the alerts with thresholds of 0.6 and 0.4."""
        at = None if as_of is None else day(as_of)
        given = {"limits": LIMITS, "bindings": self.bindings, **rest}
        return lifecycle.run(self.settings, self.state, as_of=at, **given)

    def promote(self, *, reads=("spend_90d",), **reference):
        """Make a real model champion whose thresholds are those of `limits`.

        `reads` are its features; `reference` further columns of its training.
        """
        rows = pd.DataFrame({"spend_90d": np.arange(40.0)})
        labels = (rows["spend_90d"] < 20).astype(int)
        quiet = {"objective": "binary", "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
        booster = lgb.train(quiet, lgb.Dataset(rows.assign(**reference)[list(reads)], labels), num_boost_round=2)
        reached = np.interp(np.linspace(0, 1, 1001), [0, 0.9, 0.95, 1], [0, LIMITS.leave, LIMITS.enter, 1])
        head = HorizonModel(90, booster.model_to_string(), Calibrator(1.0, 0.0), BASE_RATE, tuple(reached.tolist()))
        parts = {"features": reads, "categories": {}, "sources": ("purchases",), "catalog": "c"}
        bundle = Model(
            target="churn",
            **parts,
            trained_at=day("2024-05-01"),
            horizon_models=(head,),
            order=1,
            reference=rows.assign(**reference),
        )
        bundle.save(self.settings.paths.mlruns / "bundle")
        at = promotion_log.format_now()
        made = promotion_log.Promotion(at, "promote", "churn", LIMITS.model, "run", "bundle", "for the tests")
        promotion_log.append_promotion(self.settings, made)

    def rows(self, table, *columns):
        with self.state.reading() as connection:
            query = sa.select(*(table.c[c] for c in columns)) if columns else sa.select(table)
            return sorted((tuple(r) for r in connection.execute(query)), key=repr)


def _toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def company(tmp_path):
    """With its state in SQLite."""
    made = Company(tmp_path)
    yield made
    made.state.close()


@pytest.fixture(params=["sqlite", "postgres"])
def any_company(request, tmp_path):
    """With its state in SQLite, then in PostgreSQL."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    made = Company(tmp_path, url)
    yield made
    made.state.close()


class Post:
    """A real SMTP server. `answers` may hold, by command (RCPT, DATA), what to say: a text or a coroutine."""

    def __init__(self):
        self.port, self.received, self.answers = find_free_port(), [], {}
        self.reached = threading.Event()
        self._server = None

    def start(self):
        self._server = Controller(self, hostname="127.0.0.1", port=self.port)
        self._server.start()
        return self

    def stop(self):
        if self._server is not None:
            with contextlib.suppress(asyncio.CancelledError):
                self._server.stop()
            self._server = None

    async def handle_RCPT(self, server, _session, envelope, address, _options):  # noqa: N802  # aiosmtpd's name
        said = await self._answer("RCPT", server, address)
        if said.startswith("2"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server, _session, envelope):  # noqa: N802  # aiosmtpd's name
        said = await self._answer("DATA", server, envelope.rcpt_tos[0])
        if said.startswith("2"):
            self.received.append((envelope.rcpt_tos, envelope.original_content))
        return said

    async def _answer(self, command, server, address):
        answer = self.answers.get(command, "250 OK")
        return answer if isinstance(answer, str) else await answer(server, address)

    @property
    def recipients(self):
        return sorted(address for addresses, _ in self.received for address in addresses)


@pytest.fixture
def post():
    """A running SMTP server."""
    server = Post().start()
    yield server
    server.stop()


@pytest.fixture
def start():
    """Start `python -m monitoring …` as a real process; none outlives the test."""
    started = []

    def process(company, *words, config=None):
        command = [sys.executable, "-m", "monitoring", *words]
        if words[0] != "mailbox":
            command += ["--config", str(config or company.file)]
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": root}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=company.folder, env=environment, **pipes))
        return started[-1]

    yield process
    for one in started:
        one.kill()
        one.communicate()


@pytest.fixture
def finish():
    """Run `python -m monitoring …` to its end; gives (exit status, standard output, standard error)."""

    def run(company, *words, config=None):
        done = run_command("monitoring", *words, "--config", config or company.file, cwd=company.folder)
        return done.returncode, done.stdout, done.stderr

    return run
