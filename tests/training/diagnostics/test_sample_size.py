"""The check before training: what is too little is said in numbers, and one target's lack does not stop another."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.core.timestamps import from_micros
from tests.support.commands import run_command
from training.diagnostics import sample_size
from training.registry import mlflow_registry
from training.targets.time_splits import TimePlan

MONTHS = tuple(datetime(2023, m, 1, tzinfo=UTC) for m in range(1, 7))
PLAN = TimePlan(30, train=MONTHS[:4], early=MONTHS[:2], late=MONTHS[2:4], test=MONTHS[4:])


def checked(*positives, rows=50):
    """The check of so many positives in each month."""
    answers = np.concatenate([np.repeat([1.0, 0.0], [p, rows - p]) for p in positives])
    return sample_size.check_sample_size("churn_30d", answers, pd.Series(np.repeat(MONTHS, rows)), PLAN)


def test_enough_positives_are_enough():
    found = checked(10, 10, 10, 10, 10, 10)
    assert (found.impossible, found.enough, found.reasons) == (None, True, ())


def test_few_positives_to_learn_from_are_counted():
    found = checked(3, 2, 4, 5, 20, 20)
    assert (found.impossible, found.enough) == (None, False)
    assert found.reasons == ("churn_30d has only 14 positives to learn from: 30 are needed",)


@pytest.mark.parametrize(
    ("positives", "part", "rows"),
    [
        ((0, 0, 9, 9, 9, 9), "the first part of the training, 2023-01-01 to 2023-02-01", 100),
        ((9, 9, 50, 50, 9, 9), "the calibration, 2023-03-01 to 2023-04-01", 100),
        ((9, 9, 9, 9, 0, 0), "the test, 2023-05-01 to 2023-06-01", 100),
    ],
)
def test_one_class_in_a_part_is_named_with_its_cutoffs(positives, part, rows):
    [reason] = checked(*positives).impossible.reasons
    assert f"one class only in the cutoffs of {part}: " in reason
    assert reason.endswith(f" positives among {rows} rows")


def test_rows_without_a_label_are_not_counted():
    answers = np.concatenate([np.repeat([1.0, 0.0, np.nan], [1, 9, 40]) for _ in MONTHS])
    answers[-100:][answers[-100:] == 1] = np.nan
    found = sample_size.check_sample_size("churn_30d", answers, pd.Series(np.repeat(MONTHS, 50)), PLAN)
    assert (found.impossible.rows, found.impossible.positives) == (18, 0)


def test_a_short_history_names_the_features_that_look_beyond_it(posted):
    start = datetime(2023, 1, 1, tzinfo=UTC)
    history = posted(accounts=[("A", start)], purchases=[("A", start)], usage=[("A", start)])
    until = datetime(2023, 7, 1, tzinfo=UTC)
    features = ("tenure_days", "orders_90d", "orders_180d", "usage_events_90d")
    [remark] = sample_size.describe_gaps(history, features, pd.Series(["A"]), until)
    assert remark.startswith("purchases reaches back 181 days, less than twice the longest window used, 180 days: ")
    assert remark.endswith("look further back than the data reach: orders_180d")


def test_accounts_with_nothing_from_a_source_are_counted_by_account(posted):
    start = datetime(2023, 1, 1, tzinfo=UTC)
    history = posted(accounts=[(a, start) for a in "ABC"], usage=[("A", start)])
    asked = pd.Series(["A", "B", "C", "C"])
    assert sample_size.describe_gaps(history, (), asked, from_micros(history.last_event + 1)) == (
        "2 of the 3 accounts have nothing in usage: its features say little of them",
    )


@pytest.fixture(scope="module")
def halved(company, tmp_path_factory):
    """A company whose accounts never leave: churn can't be trained, upsell can."""
    lifetimes = company.tables["lifetimes"]
    never = pd.Series(pd.NaT, index=lifetimes.index, dtype="datetime64[us, UTC]")
    return company.vary(tmp_path_factory.mktemp("halved"), lifetimes=lifetimes.assign(ended_at=never))


def test_one_target_without_positives_does_not_stop_the_other(halved):
    file = halved.folder / "fit.json"
    done = run_command("training", "fit", "--config", halved.file, "--json", file)
    assert done.returncode == 0, done.stderr
    steps = [line.partition(" s  ")[2] for line in done.stderr.splitlines()]
    assert (steps[0], steps[-1]) == ("reading the tables", "upsell: looking for leaks")
    assert any(step.startswith("churn, 30 days: ") and step.endswith("; not trained") for step in steps)
    assert "churn_30d: insufficient, not trained: the labels of churn_30d are of one class only" in done.stdout
    told = json.loads(file.read_text())["targets"]
    assert {what: t["verdict"] for what, t in told.items()}.items() >= {
        ("churn_30d", "insufficient"),
        ("churn_60d", "insufficient"),
    }
    assert told["churn_30d"]["base_rate"] == 0
    assert told["upsell_30d"]["auc"] > 0.5
    assert mlflow_registry.promote(halved.settings, "latest", reason="the rest").keys() == {"upsell"}
