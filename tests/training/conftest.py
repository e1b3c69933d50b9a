"""A small company with planted reasons to leave and to buy more; and posted histories, for exact instants."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.core.timestamps import to_micros
from features.settings import Settings
from features.settings.load import load_settings
from features.sources.history import History
from tests.support.company_copy import copy_tables
from tests.support.shared import make_once
from training.diagnostics.leak_verdict import LeakFindings
from training.diagnostics.leakage import LeakProbe
from training.evaluation import plots
from training.fitting import fit
from training.fitting.fit import FittedTarget
from training.registry import mlflow_runs

START = datetime(2023, 1, 1, tzinfo=UTC)
MONTHS = 15
ACCOUNTS = 300

TOML = """
[company]
name = "Small Quay"

[paths]
var = "{folder}/var"
mlruns = "{folder}/mlruns"

[sources]
accounts = {{ path = "accounts.parquet" }}
usage = {{ path = "usage.parquet" }}
purchases = {{ path = "purchases.parquet" }}
lifetimes = {{ path = "lifetimes.parquet" }}

[tables.accounts]
source = "accounts"
[tables.accounts.columns]
account_id = "account_id"
created_at = "created_at"
plan = "plan"
seats = "seats"
country = "country"

[tables.usage]
source = "usage"
columns = {{ account_id = "account_id", used_at = "used_at" }}

[tables.purchases]
source = "purchases"
columns = {{ account_id = "account_id", purchased_at = "purchased_at", amount = "amount", kind = "kind" }}

[tables.lifetimes]
source = "lifetimes"
columns = {{ account_id = "account_id", started_at = "started_at", ended_at = "ended_at" }}

[training]
trusted = ["seats"]

[churn]
cohort = {{ kind = "lifetime" }}
label = {{ kind = "ended" }}
horizons = [30, 60]

[upsell]
cohort = {{ kind = "lifetime" }}
label = {{ kind = "expansion" }}
horizons = [30]
"""


@dataclass(frozen=True)
class Company:
    """Tables in a folder, and the TOML file that maps them."""

    folder: Path
    tables: Mapping[str, pd.DataFrame]
    toml: str

    @property
    def file(self) -> Path:
        return self.folder / "garrison.toml"

    @property
    def settings(self) -> Settings:
        return load_settings(self.file)

    def write(self) -> Company:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.tables.items():
            table.to_parquet(self.folder / f"{name}.parquet", index=False)
        self.write_toml()
        return self

    def write_toml(self) -> None:
        self.file.write_text(self.toml.format(folder=self.folder), encoding="utf-8")

    def vary(self, folder: Path, *changes: tuple[str, str], **tables: pd.DataFrame) -> Company:
        """The same company in another folder, with changes (old, new) to its TOML and some tables replaced."""
        toml = self.toml
        for old, new in changes:
            assert old in toml
            toml = toml.replace(old, new)
        other = Company(folder, {**self.tables, **tables}, toml)
        if tables:
            return other.write()
        copy_tables(self.folder, folder)
        other.write_toml()
        return other

    def fit(self, **rest: Any) -> dict[str, FittedTarget]:
        with History.open(self.settings) as history:
            return fit.fit(history, self.settings, progress=lambda _: None, **rest)


@dataclass(frozen=True)
class Logged:
    """A company with two runs in MLflow: the first with a signal, the second without one for upsell."""

    settings: Settings
    fitted: dict[str, FittedTarget]
    first: str
    second: str


def tables(seed: int) -> dict[str, pd.DataFrame]:
    """Accounts of plan basic leave, as do those whose usage fell away; accounts of many seats buy more."""
    random = np.random.default_rng(seed)
    accounts = pd.DataFrame({"account_id": [f"A{i:03d}" for i in range(ACCOUNTS)]})
    accounts["created_at"] = [START - timedelta(days=int(d)) for d in random.integers(10, 900, ACCOUNTS)]
    accounts["plan"] = random.choice(["basic", "plus", "team"], ACCOUNTS, p=[0.4, 0.3, 0.3])
    accounts["seats"] = random.integers(1, 101, ACCOUNTS)
    accounts["country"] = "NL"
    usage, purchases, lifetimes = [], [], []
    for account, plan, seats in accounts[["account_id", "plan", "seats"]].itertuples(index=False):
        first = 0 if random.random() < 0.3 else int(random.integers(1, MONTHS - 1))
        begin, quiet, left = _month(first), False, None
        for month in range(first, MONTHS):
            quiet = quiet or random.random() < 0.03
            leaves = random.random() < (0.3 if quiet else {"basic": 0.25, "plus": 0.004, "team": 0.004}[plan])
            now, days = _month(month), (_month(month + 1) - _month(month)).days
            left = now + timedelta(days=days * random.random()) if leaves else None
            until = left or _month(month + 1)
            used = now + np.sort(random.random(random.poisson(2 if quiet else 10))) * timedelta(days=days)
            usage += [(account, at) for at in used if at < until]
            bought = now + np.sort(random.random(random.poisson(3))) * timedelta(days=days)
            purchases += [(account, at, int(random.integers(50, 150)), "renewal") for at in bought]
            if random.random() < (0.35 if seats > 60 else 0.02):
                purchases.append((account, now + timedelta(days=days * random.random()), 20, "expansion"))
            if left:
                break
        lifetimes.append((account, begin, left))
    return {
        "accounts": accounts,
        "usage": pd.DataFrame(usage, columns=["account_id", "used_at"]),
        "purchases": pd.DataFrame(purchases, columns=["account_id", "purchased_at", "amount", "kind"]),
        "lifetimes": pd.DataFrame(lifetimes, columns=["account_id", "started_at", "ended_at"]),
    }


def _month(number: int) -> datetime:
    return START.replace(year=START.year + number // 12, month=number % 12 + 1)


MINIMAL = {
    "company": {"name": "Posted"},
    "sources": {"rows": {"path": "rows.csv"}},
    "tables": {"accounts": {"source": "rows", "columns": {"account_id": "id", "created_at": "created"}}},
    "churn": {"cohort": {"kind": "lifetime"}, "label": {"kind": "ended"}},
}
_TIMES = {"accounts": "created_at", "purchases": "purchased_at", "lifetimes": "started_at", "usage": "used_at"}


@contextmanager
def open_posted() -> Iterator[Callable[..., History]]:
    """Make histories of rows given as (account, instant, other columns): µs and decimals are seen to."""
    opened = []

    def make(**tables: list[tuple[Any, ...]]) -> History:
        rows = {name: [_row(name, *given) for given in table] for name, table in {"accounts": [], **tables}.items()}
        history = History.from_rows(Settings.model_validate(MINIMAL), rows)
        opened.append(history)
        return history

    yield make
    for history in opened:
        history.close()


@pytest.fixture
def posted() -> Iterator[Callable[..., History]]:
    """Makes histories of a test's own rows."""
    with open_posted() as make:
        yield make


@pytest.fixture(scope="module")
def kept() -> Iterator[Callable[..., History]]:
    """Makes the history of a function's rows, at the first call with these arguments alone: for tests of one file."""
    with open_posted() as make:
        yield cache(lambda write_rows, *arguments: make(**write_rows(*arguments)))


def _row(table: str, account: str, at: datetime, rest: Mapping[str, Any] | None = None) -> dict[str, Any]:
    row = {"account_id": account, _TIMES[table]: at, **(rest or {})}
    if table == "usage":
        row = {"known_at": at} | row
    if table == "purchases":
        row = {"known_at": at, "amount": 100} | row
        row["amount"] = Decimal(str(row["amount"]))
    return {k: to_micros(v) if isinstance(v, datetime) else v for k, v in row.items()}


@pytest.fixture(scope="session")
def company(tmp_path_factory) -> Company:
    return Company(tmp_path_factory.mktemp("company"), tables(1), TOML).write()


@pytest.fixture(scope="session")
def fitted(company, run_folder) -> dict[str, FittedTarget]:
    return make_once(run_folder, "fitted", company.fit)


@contextmanager
def leave_out_probe() -> Iterator[None]:
    """Let fits look for no leaks, which is more than half of so small a fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LeakProbe, "examine", lambda *_: LeakFindings({}))
        yield


@pytest.fixture
def unprobed(request) -> Iterator[None]:
    """For tests of what leaks have no part in."""
    request.getfixturevalue("fitted")  # everybody's, so it is made before
    with leave_out_probe():
        yield


@pytest.fixture(scope="module")
def slim(company, tmp_path_factory) -> Company:
    """The company with churn alone, at one horizon."""
    upsell = company.toml[company.toml.index("[upsell]") :]
    change = ("horizons = [30, 60]", "horizons = [30]")
    return company.vary(tmp_path_factory.mktemp("slim"), change, (upsell, ""))


@pytest.fixture(scope="session")
def sound(fitted) -> dict[str, FittedTarget]:
    """The same, with a calibration that stops no promotion: in so small a company it is as chance will have it."""
    return {
        name: replace(
            f, results={h: replace(o, evaluation=replace(o.evaluation, ece=0.01)) for h, o in f.results.items()}
        )
        for name, f in fitted.items()
    }


@pytest.fixture(scope="session")
def logged(company, sound, run_folder) -> Logged:
    """Where its runs were logged; tests that change the registry work on a copy, see `registered`."""
    return make_once(run_folder, "logged", lambda: _log_runs(company.vary(run_folder / "logged").settings, sound))


def _log_runs(settings: Settings, sound: dict[str, FittedTarget]) -> Logged:
    first, _ = mlflow_runs.log_run(settings, sound, fingerprint="0123456789abcdef")
    upsell = sound["upsell"]
    judged = {h: replace(o, evaluation=replace(o.evaluation, verdict="no_signal")) for h, o in upsell.results.items()}
    again = {**sound, "upsell": replace(upsell, results=judged)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "draw_plots", lambda *_: ())  # the first run's are enough to look at
        second, _ = mlflow_runs.log_run(settings, again, fingerprint="fedcba9876543210")
    return Logged(settings, sound, first, second)


@pytest.fixture
def registered(logged, tmp_path) -> Logged:
    """The logged runs in a registry of the test's own."""
    shutil.copytree(logged.settings.paths.mlruns, tmp_path / "mlruns")
    toml = TOML.format(folder=tmp_path)
    (tmp_path / "garrison.toml").write_text(toml, encoding="utf-8")
    return replace(logged, settings=load_settings(tmp_path / "garrison.toml"))
