"""The harms of a source on a sample company, by the commands as typed: each is held and named, and wakes nobody."""

import contextlib
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import lightgbm as lgb
import pytest
import sqlalchemy as sa

from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from features.state.tables import ALERT_CHOICES, EPISODES, OUTBOX, RUN_VERDICTS, SCORES
from monitoring.alerts import limits
from tests.support.commands import run_command
from tests.support.harms import HARMS
from training.models.calibration import fit_calibrator
from training.models.dataset import load_dataset, select_features
from training.models.horizon_model import HorizonModel, compute_quantiles
from training.models.model import Model
from training.registry import promotion_log
from training.registry.promotion_log import Promotion
from training.targets.labels import compute_labels

EXAMPLE = Path(__file__).parents[3] / "docs/examples/tidewater.toml"
BEFORE, NOW = "2025-12-01", "2026-01-01"
END = datetime(2026, 1, 1, tzinfo=UTC)


class Company:
    """A sample company in a folder of its own; its commands run there."""

    def __init__(self, folder):
        self.folder, self.config = folder, folder / "tidewater.toml"

    @property
    def settings(self):
        """Return its settings."""
        return load_settings(self.config)

    def call(self, package, *words):
        """Run a command of a package on the company."""
        where = [] if words[0] == "sample" else ["--config", self.config]
        return run_command(package, *words, *where, cwd=self.folder)

    def score(self):
        """Score as of now, to a file."""
        return self.call("serving", "score", "--as-of", NOW, "--drivers", "none", "--to", "scores.csv")

    def count(self, table):
        """Count the rows of a table of the state database."""
        return self.read(sa.select(sa.func.count()).select_from(table))[0][0]

    def read(self, query):
        """Read rows of the state database."""
        engine = database.connect(f"sqlite:///{self.folder}/var/tidewater/garrison.db")
        with engine.connect() as connection:
            rows = connection.execute(query).all()
        engine.dispose()
        return rows


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """Tidewater with a champion for churn, and with a healthy run a month ago."""
    company = Company(tmp_path_factory.mktemp("tidewater"))
    toml = re.sub(r"(?ms)^\[upsell\].*?(?=^\[)", "", EXAMPLE.read_text(encoding="utf-8"))
    toml = re.sub(r"(?m)^email = .*$", 'folder = "letters"', toml)
    toml = toml.replace("${GARRISON_DATA:-../../var/samples}/tidewater", "tidewater")
    toml = toml.replace("horizons = [30, 90]", "horizons = [90]")
    company.config.write_text(toml, encoding="utf-8")
    words = ("features", "sample", "tidewater", "--out", "tidewater", "--accounts", "300", "--months", "18")
    assert company.call(*words).returncode == 0
    with contextlib.chdir(company.folder):
        promote_model(company)
    done = company.call("serving", "score", "--as-of", BEFORE, "--drivers", "none")
    assert done.returncode == 0, done.stderr
    return company


def promote_model(company):
    """Learn churn from seven months, much faster than `training fit` does, and make the model champion."""
    settings = company.settings
    cutoffs = tuple(datetime(2025, month, 1, tzinfo=UTC) for month in range(3, 10))
    with History.open(settings) as history:
        data = load_dataset(history, settings, "churn", cutoffs, END)
        rows = data.frame[["account_id", "as_of"]]
        labels = compute_labels(history, settings.churn, 90, rows, data_until=END).to_numpy() == 1
        features, categories = select_features(data.frame.items())
        about = {"sources": history.sources, "catalog": history.catalog.version, "trained_at": END, "order": 1}
    reference = data.frame[list(features)]
    about |= {"features": features, "categories": categories, "reference": reference}
    model = Model(target="churn", horizon_models=(), **about)
    matrix, is_late = model.matrix(data.frame), (rows["as_of"] >= cutoffs[-2]).to_numpy()
    options = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1, "seed": 1}
    booster = lgb.train(options, lgb.Dataset(matrix[~is_late], labels[~is_late]), num_boost_round=40)
    log_odds = booster.predict(matrix[is_late], raw_score=True)
    calibrator = fit_calibrator(log_odds, labels[is_late])
    quantiles = compute_quantiles(calibrator(log_odds))
    head = HorizonModel(90, booster.model_to_string(), calibrator, float(labels.mean()), quantiles)
    replace(model, horizon_models=(head,)).save(settings.paths.mlruns / "model")
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-1", "run-1", "model", "for the tests")
    promotion_log.append_promotion(settings, made)


@pytest.fixture
def company(healthy, tmp_path):
    """The same company, in a folder that a test may harm."""
    shutil.copytree(healthy.folder, tmp_path / "company")
    return Company(tmp_path / "company")


def test_a_healthy_company_is_ok_and_opens_the_episodes_that_its_scores_ask_for(company):
    scored = company.score()
    assert scored.returncode == 0, scored.stderr
    assert f"as of {NOW}: ok." in scored.stdout
    assert (company.folder / "scores.csv").exists()
    alerted = company.call("monitoring", "alert", "--as-of", NOW, "--json", "alert.json")
    assert alerted.returncode == 0, alerted.stderr
    written = json.loads((company.folder / "alert.json").read_text())
    assert written["verdict"]["state"] == "ok"
    assert written["verdict"]["compared_with"]
    with contextlib.chdir(company.folder):
        limit = limits.find_thresholds(promotion_log.load_champions(company.settings), company.settings).enter
    at_risk = sa.select(SCORES.c.account_id).where(
        SCORES.c.as_of == sa.select(sa.func.max(SCORES.c.as_of)).scalar_subquery(),
        SCORES.c.horizon == 90,
        SCORES.c.in_cohort,
        SCORES.c.score >= limit,
    )
    choices = company.read(sa.select(ALERT_CHOICES.c.account_id, ALERT_CHOICES.c.kind, ALERT_CHOICES.c.chosen))
    risky = {account for (account,) in company.read(at_risk)}
    assert {account for account, kind, _ in choices if kind == "churn"} == risky != set()
    assert {row["account_id"] for row in written["opened"]} == {account for account, _, chosen in choices if chosen}
    assert company.count(EPISODES) == len(written["opened"])
    # Each episode has a message that tells its owner; teams and sponsors hear of some in messages of their own.
    told = company.read(sa.select(OUTBOX.c.kind).join(EPISODES, EPISODES.c.message_id == OUTBOX.c.id))
    assert len(told) == len(written["opened"])
    assert {kind for (kind,) in told} <= {"opened", "digest"}
    assert {kind for (kind,) in company.read(sa.select(OUTBOX.c.kind))} <= {"opened", "digest", "team", "packet"}


@pytest.mark.parametrize("name", HARMS)
def test_a_harmed_company_wakes_nobody_and_the_data_team_hears_once_which_source_it_is(company, name):
    harm = HARMS[name]
    harm.apply(company.folder / "tidewater")
    is_read = bool(harm.kinds) or not harm.seen_by_sources
    # The second night of one harm scores the same instant again: a new run, and no news.
    nights = 2 if name == "usage stops" else 1
    for _ in range(nights):
        scored = company.score()
        assert scored.returncode == 1
        assert harm.source in scored.stderr
        assert not (company.folder / "scores.csv").exists()
        if not is_read:
            break
        alerted = company.call("monitoring", "alert", "--as-of", NOW)
        assert (alerted.returncode, f"as of {NOW}: hold." in alerted.stdout) == (1, True)
        assert f"hold: {harm.source}: " in alerted.stdout
    assert company.count(EPISODES) == 0
    messages = company.read(sa.select(OUTBOX.c.kind, OUTBOX.c.recipient, OUTBOX.c.body))
    assert len(messages) == is_read
    for kind, recipient, body in messages:
        assert (kind, recipient, f". {harm.source}: " in body) == ("held", "data@tidewater.example", True)
    assert company.count(RUN_VERDICTS) == (1 + nights if is_read else 1)
    if name == "usage column renamed":
        assert "column count" in scored.stderr or "'count'" in scored.stderr
