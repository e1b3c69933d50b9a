import json
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import comparison
from monitoring.drift.comparison import judge_drift

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CUTOFFS = pd.date_range("2024-10-01", periods=12, freq="MS", tz="UTC")


def frame(seed, rows, columns=20, **moved):
    """Columns of the shapes that features have; `moved` replaces some."""
    rng, made = np.random.default_rng(seed), {}
    for at in range(columns // 5):
        made[f"usage_{at}"] = rng.poisson(8, rows).astype(float)
        made[f"tickets_{at}"] = rng.poisson(0.2, rows).astype(float)
        made[f"spend_{at}"] = np.where(rng.random(rows) < 0.4, 0.0, rng.lognormal(6, 1.5, rows))
        made[f"csat_{at}"] = np.where(rng.random(rows) < 0.5, np.nan, rng.normal(4, 1, rows))
        made[f"plan_{at}"] = rng.choice(["basic", "plus", "pro", "rare"], p=[0.5, 0.3, 0.19, 0.01], size=rows)
    return pd.DataFrame(made | moved)


def dated(rows, seed=0, **moved):
    """Training rows of twelve cutoffs, in turn."""
    return frame(seed, rows, **moved).assign(as_of=CUTOFFS[np.arange(rows) % len(CUTOFFS)])


REFERENCE = dated(6000)


@pytest.mark.parametrize("rows", [50, 100, 200, 2000])
def test_there_is_no_alarm_without_drift_however_few_the_rows(rows):
    reference = frame(1, 3000, columns=40)
    verdicts = [judge_drift(reference, frame(seed, rows, columns=40), seed=7) for seed in (11, 12)]
    assert [v.state for v in verdicts] == ["ok", "ok"]
    assert [v.drifted for v in verdicts] == [(), ()]
    if rows == 50:  # the rule of thumb alone would have called drift
        assert any(c.psi >= comparison.SMALL for v in verdicts for c in v.columns)


def test_two_small_samples_do_not_alarm_either():
    assert judge_drift(frame(2, 60), frame(3, 60), seed=7).state == "ok"


def test_a_shift_is_found_named_and_ranked():
    current = frame(5, 2000)
    current["spend_1"] *= 4
    current["usage_2"] *= 0.4
    verdict = judge_drift(REFERENCE, current, seed=7)
    assert verdict.state == "watch"
    assert [c.name for c in verdict.drifted] == ["usage_2", "spend_1"]
    assert verdict.moved_weight == pytest.approx(2 / 20)
    assert "usage_2" in verdict.advice
    assert verdict.columns[0].typical[0] > verdict.columns[0].typical[1]


def test_columns_that_the_model_depends_on_little_may_move():
    current = frame(5, 2000)
    current["usage_2"] *= 0.4
    light = dict.fromkeys(REFERENCE, 0.05) | {"usage_2": 0.02}
    verdict = judge_drift(REFERENCE, current, seed=7, weights=light)
    assert [c.name for c in verdict.drifted] == ["usage_2"]
    assert (verdict.state, verdict.advice) == ("ok", "Nothing to do.")
    assert "1 of 20 columns moved; it has 2% of the model's weight, too little to matter." in verdict.sentence
    assert judge_drift(REFERENCE, current, seed=7, weights=light | {"usage_2": 0.3}).state == "watch"


def test_a_column_may_move_as_far_as_it_did_from_one_training_date_to_the_next():
    month = CUTOFFS.get_indexer(REFERENCE["as_of"])
    waves = REFERENCE.assign(usage_1=REFERENCE["usage_1"] + 3.0 * np.sin(month))
    current = frame(6, 2000)
    current["usage_1"] += 3.0 * np.sin(2)  # as in the third of them
    verdict = judge_drift(waves, current, seed=7)
    usual = {c.name: c for c in verdict.columns}["usage_1"]
    assert usual.psi > 0.25
    assert usual.usual > usual.psi
    assert verdict.drifted == ()
    assert [c.name for c in judge_drift(waves.drop(columns="as_of"), current, seed=7).drifted] == ["usage_1"]


def test_a_season_is_compared_with_the_same_season():
    training = dated(900)  # too few rows a date to know how far one is from the others
    training["as_of"] = pd.date_range("2024-12-01", periods=12, freq="14D", tz="UTC")[np.arange(900) % 12]
    winter = training["as_of"].dt.month.isin([12, 1])
    training["usage_0"] += 8.0 * winter
    current = frame(6, 2000)
    current["usage_0"] += 8.0
    in_winter = judge_drift(training, current, seed=7, as_of=NOW)
    assert (in_winter.season_rows, in_winter.drifted) == (300, ())
    in_summer = judge_drift(training, current, seed=7, as_of=datetime(2026, 7, 1, tzinfo=UTC))
    assert [c.name for c in in_summer.drifted] == ["usage_0"]


def test_without_dates_only_a_large_shift_counts():
    current = frame(6, 5000)
    current["usage_0"] += 1.0
    shift = {c.name: c for c in judge_drift(REFERENCE, current, seed=7).columns}["usage_0"]
    assert comparison.SMALL < shift.psi < comparison.LARGE
    undated = judge_drift(REFERENCE.drop(columns="as_of"), current, seed=7)
    assert not undated.dated
    assert undated.drifted == ()
    assert "does not know the dates" in "\n".join(undated.lines())


def test_columns_that_grow_are_left_out_and_named():
    current = frame(6, 2000)
    current["usage_0"] += 40
    verdict = judge_drift(REFERENCE, current, seed=7, growing=["usage_0"])
    assert verdict.state == "ok"
    assert verdict.growing == ("usage_0",)
    assert "usage_0" not in {c.name for c in verdict.columns}


def test_a_column_that_empties_half_way_has_drifted():
    current = frame(6, 2000)
    current.loc[current.index % 2 == 0, "usage_0"] = np.nan
    verdict = judge_drift(REFERENCE, current, seed=7)
    assert [c.name for c in verdict.drifted] == ["usage_0"]
    assert verdict.drifted[0].missing == (0.0, 0.5)


def test_unseen_categories_are_counted():
    current = frame(7, 2000)
    current.loc[current.index % 4 == 0, "plan_0"] = "ultra"
    moved = {c.name: c for c in judge_drift(REFERENCE, current, seed=7).columns}
    assert moved["plan_0"].unseen == pytest.approx(0.25)
    assert moved["plan_0"].drifted
    assert moved["plan_1"].unseen == 0


def test_scores_that_move_are_drift_of_their_own():
    rng = np.random.default_rng(0)
    scores = {"score churn 90 days": (rng.beta(2, 20, 6000), rng.beta(4, 20, 2000))}
    verdict = judge_drift(REFERENCE, frame(8, 2000), seed=7, scores=scores)
    assert [(c.name, c.kind) for c in verdict.drifted] == [("score churn 90 days", "score")]
    assert verdict.state == "watch"
    assert verdict.sentence.startswith("The scores moved")


def test_what_is_broken_holds_and_the_rest_is_still_compared():
    current = frame(9, 500).drop(columns="usage_0").assign(spend_0=np.inf, csat_0=np.nan, plan_0=1.0, extra=1.0)
    verdict = judge_drift(REFERENCE, current, seed=7)
    assert verdict.state == "hold"
    assert {f.column for f in verdict.findings if f.breaks} == {"usage_0", "spend_0", "csat_0", "plan_0"}
    assert {f.column for f in verdict.findings if not f.breaks} == {"extra"}
    assert len(verdict.columns) == 16
    assert "usage_0" in verdict.advice


@pytest.mark.parametrize("sides", [(REFERENCE, REFERENCE[:0]), (REFERENCE[:0], REFERENCE)])
def test_without_rows_it_holds(sides):
    verdict = judge_drift(*sides, seed=7)
    assert verdict.state == "hold"
    assert "has no rows" in "\n".join(verdict.lines())


def test_the_verdict_is_the_same_every_time_and_plain_enough_for_json(monkeypatch):
    monkeypatch.setattr(comparison, "ROWS", 400)  # so that it samples
    verdicts = [judge_drift(REFERENCE, frame(10, 900), seed=7, as_of=NOW) for _ in range(2)]
    assert verdicts[0] == verdicts[1]
    assert (verdicts[0].rows, verdicts[0].reference_rows) == (400, 400)
    assert judge_drift(REFERENCE, frame(10, 900), seed=8, as_of=NOW) != verdicts[0]
    assert json.loads(json.dumps(verdicts[0].as_dict(), allow_nan=False))["state"] == "ok"


def test_the_terminal_shows_eighty_columns_at_most():
    long = {f"usage_of_a_feature_with_a_very_long_name_{at}_in_all": np.arange(500.0) for at in range(20)}
    reference, current = pd.DataFrame(long), pd.DataFrame(long) * 7
    lines = list(judge_drift(reference, current, seed=7).lines())
    assert max(map(len, lines)) <= 78
    assert any("and 12 more columns" in line for line in lines)


def test_many_rows_take_no_longer_than_the_sample_that_is_drawn_of_them():
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(100_000, 30)), columns=[f"c{at}" for at in range(30)])
    start = time.process_time()
    verdict = judge_drift(wide, wide, seed=7)
    assert time.process_time() - start < 2
    assert (verdict.rows, verdict.reference_rows) == (comparison.ROWS, comparison.ROWS)
