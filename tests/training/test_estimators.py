"""scikit-learn's way in and out: our classifier on frames of one's own, and an estimator of one's own beside ours."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator

from features.core.errors import FrameError
from features.sources.history import History
from training.estimators.classifier import GarrisonClassifier
from training.estimators.estimator_comparison import compare_estimator
from training.estimators.labelled_rows import load_labelled_rows

_NUMBERS = make_column_transformer(("passthrough", make_column_selector(dtype_include="number")))


@pytest.fixture(scope="module")
def history(company):
    with History.open(company.settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def rows(history, company):
    return load_labelled_rows(history, company.settings, horizon=30)


def test_it_passes_scikit_learns_own_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator, check in estimator_checks_generator(GarrisonClassifier(trees=10)):
            if check.func.__name__ != "check_array_api_input":  # needs a switch in the environment
                check(estimator)


def test_a_frame_of_ones_own_gives_the_model_that_training_gives(rows, fitted):
    """Our rows as any frame: the same trees from the same days, but for what only a company knows of its terms."""
    ours = fitted["churn"].model
    frame = rows.train[["account_id", "as_of", *ours.features]]
    model = GarrisonClassifier(horizon=30).fit(frame, rows.train["label"])
    assert list(model.feature_names_in_) == list(frame.columns)
    assert model.model_.features == ours.features
    assert model.model_.categories == ours.categories
    assert model.model_.horizon_models[0].text == ours.horizon_models[0].text
    chances = model.predict_proba(rows.test[frame.columns])[:, 1]
    assert np.corrcoef(chances, fitted["churn"].results[30].test["score"])[0, 1] > 0.999
    parts = model.explain(rows.test[frame.columns])
    assert list(parts.columns) == list(ours.features)


def test_days_may_be_texts_and_labels_words(rows):
    frame = rows.train.drop(columns="label")
    words = np.where(rows.train["label"] > 0, "left", "stayed")
    first = GarrisonClassifier(horizon=30, trees=20).fit(frame, words)
    texts = frame.assign(as_of=frame["as_of"].dt.strftime("%Y-%m-%d"))
    second = GarrisonClassifier(horizon=30, trees=20).fit(texts, words)
    assert second.classes_.tolist() == ["left", "stayed"]
    assert (first.predict_proba(frame) == second.predict_proba(texts)).all()
    assert set(second.predict(texts)) <= {"left", "stayed"}


def test_it_is_cloned_put_into_pipelines_and_cross_validated(rows):
    model = clone(GarrisonClassifier(trees=20).set_params(horizon=30))
    assert model.get_params()["horizon"] == 30
    frame, labels = rows.train.drop(columns="label"), rows.train["label"]
    pipeline = make_pipeline(FunctionTransformer(lambda x: x.drop(columns="plan")), model)
    folds = GroupKFold(2)
    aucs = cross_val_score(pipeline, frame, labels, groups=frame["account_id"], cv=folds, scoring="roc_auc")
    assert aucs.min() > 0.6


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda f: f.assign(as_of="soon"), "has what is no date. found: 'soon'"),
        (lambda f: f[["account_id", "as_of"]].assign(one=1), "no column can be learned from"),
        (lambda f: f.assign(signed=f["as_of"]), "the column signed has dates"),
        (
            lambda f: f.assign(as_of=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(f)) % 5, "D")),
            "too close",
        ),
    ],
)
def test_a_frame_that_can_not_be_learned_from_is_an_error_that_says_why(rows, change, error):
    frame = rows.train.drop(columns="label")
    with pytest.raises(FrameError, match=error) as raised:
        GarrisonClassifier(horizon=30).fit(change(frame), rows.train["label"])
    assert isinstance(raised.value, ValueError)


def test_an_estimator_is_judged_on_the_rows_figures_and_baselines_of_ours(history, company, fitted):
    rival = make_pipeline(_NUMBERS, HistGradientBoostingClassifier(max_iter=20))
    ours = fitted["churn"]
    found = compare_estimator(rival, history, company.settings, horizon=30, fitted=ours)
    assert found.ours is ours.results[30]
    assert found.own.evaluation.baselines == ours.results[30].evaluation.baselines
    assert found.own.test["label"].equals(ours.results[30].test["label"])
    table = found.to_frame()
    assert table.loc["AUC", "ours"] == ours.results[30].evaluation.auc
    assert table.loc["AUC", "own"] == found.own.evaluation.auc
    assert table.loc["AUC", "low"] <= table.loc["AUC", "difference"] <= table.loc["AUC", "high"]
    assert repr(found).startswith("EstimatorComparison(churn, 30 days, ")
    assert "AUC within a day" in found._repr_html_()


def test_an_estimator_that_is_ours_differs_by_nothing_that_matters(history, company, fitted):
    columns = ["account_id", "as_of", *fitted["churn"].model.features]
    same = compare_estimator(
        GarrisonClassifier(horizon=30), history, company.settings, horizon=30, fitted=fitted["churn"], columns=columns
    )
    assert abs(same.to_frame().loc["AUC", "difference"]) < 0.005
    assert same.to_frame().loc["AUC", "better"] == "neither"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"estimator": RidgeClassifier()}, "RidgeClassifier has no predict_proba"),
        ({"target": "chrun"}, "there is no target chrun. Did you mean churn"),
        ({"horizon": 45}, "churn has no horizon of 45 days. found: 30, 60"),
        ({"columns": ["moon_phase"]}, "the snapshots have no column moon_phase"),
        ({"as_of": "2024-03-01"}, "not tested on the same rows"),
    ],
)
def test_what_can_not_be_compared_is_an_error_that_says_why(history, company, fitted, change, error):
    asked = {
        "estimator": GarrisonClassifier(),
        "horizon": 30,
        "fitted": fitted["churn"],
        "columns": ["seats"],
        **change,
    }
    with pytest.raises(FrameError, match=error):
        compare_estimator(asked.pop("estimator"), history, company.settings, **asked)
