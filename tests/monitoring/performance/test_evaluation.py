import json
from datetime import UTC, datetime

import numpy as np
import pytest

from features.core.errors import GarrisonError
from monitoring.performance import evaluation
from monitoring.performance.evaluation import estimate_performance, measure_performance


def test_the_estimate_is_what_all_pairs_of_accounts_give():
    p = np.array([0.1, 0.4, 0.4, 0.9])
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    weights = [p[a] * (1 - p[b]) for a, b in pairs]
    in_order = [1.0 if p[a] > p[b] else 0.5 if p[a] == p[b] else 0.0 for a, b in pairs]
    found = estimate_performance(p)
    assert found.auc == pytest.approx(np.average(in_order, weights=weights))
    assert found.brier == pytest.approx((0.09 + 0.24 + 0.24 + 0.09) / 4)
    assert found.positives == pytest.approx(1.8)


def test_calibrated_scores_turn_out_as_estimated():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 8, 20_000)
    expected, true = estimate_performance(p), measure_performance(p, (rng.random(len(p)) < p).astype(float))
    assert expected.low <= true.positives <= expected.high
    assert true.auc == pytest.approx(expected.auc, abs=0.02)
    assert true.brier == pytest.approx(expected.brier, abs=0.003)


def test_scores_that_are_too_high_are_found_out():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 8, 5000)
    assert measure_performance(p, (rng.random(len(p)) < p / 2).astype(float)).positives < estimate_performance(p).low


def test_where_nothing_is_in_doubt_there_is_no_auc():
    assert estimate_performance(np.array([0.0, 0.0])).auc is None
    assert estimate_performance(np.array([0.3])).auc is None
    assert measure_performance(np.array([0.3, 0.4]), np.array([1.0, 1.0])).auc is None
    assert (estimate_performance(np.array([0.0, 0.0])).low, estimate_performance(np.array([0.9, 0.9])).high) == (
        0.0,
        2.0,
    )


@pytest.mark.parametrize(("lead", "positives"), [(0, 3), (30, 4), (62, 4), (63, None)])
def test_with_a_lead_labels_are_of_later_and_mature_later(company, lead, positives):
    # A buys inside the lead of 30 days, B inside that of 62 and of the horizon of the others; the data end on 2 July.
    rows = ["A,2024-01-05,10", "A,2024-02-20,10", "B,2024-04-04,10", "Z,2024-07-01,1"]
    company.accounts(dict.fromkeys("ABCDEZ"))
    (company.folder / "purchases.csv").write_text("\n".join(["id,at,amount", *rows]) + "\n")
    company.lead(lead)
    company.score("2024-02-01", dict.fromkeys("ABCDE", 0.5))
    realised = evaluation.run(company.settings).realised
    assert [judged.realised.positives for judged in realised] == ([] if positives is None else [positives])


def test_a_run_estimates_the_newest_scores_and_judges_the_matured_ones(company):
    # A and B buy again within 90 days of 1 February, C to E do not; the data end on 2 July.
    rows = ["A,2024-01-05,10", "A,2024-02-20,10", "B,2024-04-01,10", "Z,2024-07-01,1"]
    company.accounts(dict.fromkeys("ABCDEZ"))
    (company.folder / "purchases.csv").write_text("\n".join(["id,at,amount", *rows]) + "\n")
    outside = {"score": 0.99, "in_cohort": False}
    company.score("2024-02-01", {"A": 0.1, "B": 0.3, "C": 0.6, "D": 0.7, "E": 0.2, "Z": outside})
    company.score("2024-06-01", {"A": 0.2, "B": 0.4})
    found = evaluation.run(company.settings)
    (newest,), (judged,) = found.estimated, found.realised
    assert (newest.as_of, newest.realised) == (datetime(2024, 6, 1, tzinfo=UTC), None)
    assert newest.estimate.positives == pytest.approx(0.6)
    assert (judged.realised.accounts, judged.realised.positives) == (5, 3)
    assert judged.realised.auc == pytest.approx(5 / 6)
    assert judged.estimate.positives == pytest.approx(1.9)
    lines = "\n".join(found.lines())
    assert "churn 90 days, 2024-02-01, churn-1: of 5 accounts 3 came true" in lines
    assert "outside of what was expected" not in lines
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["realised"][0]["as_of"].startswith("2024-02-01")


def test_labels_that_have_not_matured_are_not_judged(company):
    company.score("2024-12-31", {"A": 0.1})
    found = evaluation.run(company.settings)
    assert found.realised == ()
    assert "no label has matured yet" in "\n".join(found.lines())


def test_without_scores_it_says_what_to_do(company):
    with pytest.raises(GarrisonError, match="serving score"):
        evaluation.run(company.settings)
