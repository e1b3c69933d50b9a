"""Two models on the same rows: paired, the same from both sides, and never on rows that either learned from."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score

from features.core.errors import LabelError
from features.sources.history import History
from training.evaluation.compare import FigureDifference, compare, compare_scores


def drawn(rows=2000, *, seed=1):
    """(test rows, true probabilities, those blurred, attributes)."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(-1.5, 1.0, rows)
    test = pd.DataFrame({"account_id": np.arange(rows) // 4, "label": (random.random(rows) < expit(log_odds)) * 1.0})
    test["as_of"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows) % 4 * 31, unit="D")
    about = pd.DataFrame({"as_of": test["as_of"], "plan": np.where(np.arange(rows) % 40 < 20, "basic", "plus")})
    return test, expit(log_odds), expit(log_odds + random.normal(0, 0.7, rows)), about


def pair(test, a, b, about, *, target="churn"):
    return compare_scores(target, test, a, b, attributes=about, seed=7)


def by_name(found):
    return {d.figure: d for d in found.differences}


def test_the_figures_are_those_of_each_alone():
    test, true, blurred, about = drawn()
    found = pair(test, true, blurred, about)
    assert found.rows == 2000
    assert found.base_rate == test["label"].mean()
    assert [f"{c:%Y-%m-%d}" for c in found.cutoffs] == ["2024-01-01", "2024-02-01", "2024-03-03", "2024-04-03"]
    figures = by_name(found)
    assert list(figures) == ["auc", "auc_within", "ap", "brier", "profit"]
    assert figures["auc"].a == pytest.approx(roc_auc_score(test["label"], true))
    assert figures["ap"].b == pytest.approx(average_precision_score(test["label"], blurred))
    assert figures["brier"].difference == pytest.approx(
        np.mean((blurred - test["label"]) ** 2 - (true - test["label"]) ** 2)
    )


def test_the_auc_within_a_cutoff_is_not_moved_by_the_level_of_each():
    test, _, blurred, about = drawn()
    moved = blurred + np.arange(len(test)) % 4  # each cutoff's scores lie above all of the one before
    figures = by_name(pair(test, blurred, moved, about))
    within = [roc_auc_score(test["label"][k::4], blurred[k::4]) for k in range(4)]
    assert figures["auc_within"].a == figures["auc_within"].b == pytest.approx(np.mean(within))
    assert figures["auc"].better == "a"


def test_it_tells_the_better_model_by_gains_and_by_losses():
    figures = by_name(pair(*drawn()))
    assert {n: figures[n].better for n in ("auc", "ap", "brier")} == {"auc": "a", "ap": "a", "brier": "a"}
    assert figures["brier"].low > 0 > figures["auc"].high
    assert FigureDifference("auc", 0.7, 0.71, -0.01, 0.03).better == ""
    assert FigureDifference("brier", 0.2, 0.1, -0.15, -0.05).better == "b"
    assert FigureDifference("auc", 0.7, 0.8, float("nan"), float("nan")).better == ""


def test_it_is_the_same_from_both_sides():
    test, true, blurred, about = drawn()
    one, other = pair(test, true, blurred, about), pair(test, blurred, true, about)
    assert (one.ece, one.ece_noise) == (other.ece[::-1], other.ece_noise[::-1])
    pairs = [*zip(one.differences, other.differences, strict=True)]
    pairs += [(s.auc, o.auc) for s, o in zip(one.segments, other.segments, strict=True)]
    for d, o in pairs:
        assert (d.a, d.b) == (o.b, o.a)
        assert (d.low, d.high) == pytest.approx((-o.high, -o.low), abs=1e-12)
        assert {d.better, o.better} in ({""}, {"a", "b"})


def test_a_model_against_itself_differs_in_nothing():
    test, true, _, about = drawn()
    for d in pair(test, true, true, about).differences:
        assert (d.difference, d.low, d.high, d.better) == (0.0, 0.0, 0.0, "")


def test_pairing_tells_apart_what_intervals_alone_would_not():
    test, true, _, about = drawn(600)
    slightly = expit(np.log(true / (1 - true)) + np.random.default_rng(2).normal(0, 0.35, 600))
    auc = by_name(pair(test, true, slightly, about))["auc"]
    assert auc.high - auc.low < 0.06  # of each alone it is more than 0.08


def test_segments_are_compared_too_and_small_ones_only_counted():
    test, true, blurred, about = drawn()
    rare = np.flatnonzero(test["label"])[:5]
    about.loc[rare, "plan"] = "rare"
    segments = {s.value: s for s in pair(test, true, blurred, about).segments}
    assert segments.keys() == {"basic", "plus", "rare"}
    assert (segments["rare"].rows, segments["rare"].positives, segments["rare"].auc) == (5, 5, None)
    rows = (about["plan"] == "plus").to_numpy()
    assert segments["plus"].auc.b == pytest.approx(roc_auc_score(test["label"][rows], blurred[rows]))


def test_two_runs_models_are_compared_on_the_rows_that_neither_learned_from(company, fitted):
    bundles = {name: f.model for name, f in fitted.items()}
    later = {n: replace(b, learned_until=datetime(2024, 1, 15, tzinfo=UTC)) for n, b in bundles.items()}
    with History.open(company.settings) as history:
        same = compare(history, company.settings, bundles, bundles)
        found = compare(history, company.settings, bundles, later)
    assert same.keys() == found.keys() == {"churn_30d", "churn_60d", "upsell_30d"}
    # On the rows of its own test, a model's figures are those that training told.
    for name, comparison in same.items():
        target, horizon = name.split("_")
        evaluation = fitted[target].results[int(horizon[:-1])].evaluation
        assert comparison.rows == evaluation.rows
        assert by_name(comparison)["auc"].b == pytest.approx(evaluation.auc)
    assert found["churn_30d"].cutoffs[0] == datetime(2024, 2, 1, tzinfo=UTC)
    assert found["churn_60d"].cutoffs == (datetime(2024, 2, 1, tzinfo=UTC),)


@pytest.mark.parametrize("learned", [datetime(2024, 3, 20, tzinfo=UTC), None])
def test_without_later_labels_it_is_an_error_that_says_so(company, fitted, learned):
    a = {"churn": fitted["churn"].model}
    b = {"churn": replace(fitted["churn"].model, learned_until=learned)}
    with History.open(company.settings) as history, pytest.raises(LabelError, match="can't be compared") as raised:
        compare(history, company.settings, a, b)
    assert f"{learned:%Y-%m-%d}" in raised.value.found if learned else "unknown" in raised.value.found


def test_runs_without_a_target_in_common_are_an_error_that_says_so(company, fitted):
    a, b = ({name: fitted[name].model} for name in ("churn", "upsell"))
    with History.open(company.settings) as history, pytest.raises(LabelError, match="can't be compared") as raised:
        compare(history, company.settings, a, b)
    assert "targets churn and upsell" in raised.value.found


def test_for_machines_it_is_json():
    plain = json.loads(json.dumps(pair(*drawn()).as_dict(), allow_nan=False))
    assert plain["differences"]["auc"]["better"] == "a"
    assert plain["segments"][0]["auc"]["difference"] < 0
    assert plain["top"].keys() == {"accounts", "top", "shared", "tenth", "tenth_shared", "share", "tenth_share"}


def test_tops_are_compared_at_the_last_cutoff():
    test, true, blurred, about = drawn()
    top = pair(test, true, blurred, about).top
    last = (test["as_of"] == test["as_of"].max()).to_numpy()
    assert top.accounts == last.sum()
    assert pair(test, true, true, about).top.share == 1.0
