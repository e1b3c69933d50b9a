"""The interval of a score: its parts are found where they are planted, and groups of like accounts are covered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from training.evaluation.interval_coverage import measure_coverage
from training.models.base_rates import BaseRates
from training.models.calibration import Calibrator, Fold
from training.models.horizon_model import HorizonModel
from training.models.level import Level
from training.models.score_interval import ScoreSpread, estimate_excess, find_ends, fit_spread, group_alike

MONTH = 365 / 12
EMPTY = HorizonModel(30, "", Calibrator(1.0, 0.0), 0.1, ())


def company(*, level=0.0, group=0.0, cutoffs=24, rows=1500, seed=3):
    """Log-odds, labels and cutoffs of accounts whose level and tenths of like accounts are moved by chance."""
    generator = np.random.default_rng(seed)
    log_odds, labels, days = [], [], []
    for i in range(cutoffs):
        said = generator.normal(-2.0, 1.2, rows)
        moved = said + generator.normal(0, level)
        for members in group_alike(said):
            moved[members] += generator.normal(0, group)
        log_odds.append(said)
        labels.append((generator.random(rows) < expit(moved)).astype(float))
        days.append(np.full(rows, i * MONTH))
    return np.concatenate(log_odds), np.concatenate(labels), np.concatenate(days)


def fit(log_odds, labels, days):
    rates = BaseRates.from_labels(labels, days, span=30.0)
    spread = fit_spread([Fold(log_odds, log_odds, labels, days)], 0.5, 1.0, rates)
    return replace(spread, centre=float(log_odds.mean()))


def cover(spread, log_odds, labels, days):
    test = pd.DataFrame(
        {
            "as_of": pd.to_datetime(days * 86_400e6, unit="us", utc=True),
            "label": labels,
            "score": expit(log_odds),
        }
    )
    return measure_coverage(replace(EMPTY, spread=spread), test)


@pytest.mark.parametrize("planted", [{}, {"group": 0.3}, {"level": 0.4}, {"level": 0.3, "group": 0.3}])
def test_groups_of_like_accounts_of_later_cutoffs_are_covered_in_nine_of_ten_cases(planted):
    found = [
        cover(fit(*company(**planted, seed=seed)), *company(**planted, seed=seed + 100, cutoffs=40)).covered
        for seed in range(3)
    ]
    assert np.mean(found) == pytest.approx(0.9, abs=0.03)


def test_without_its_spread_too_few_are_covered():
    spread = fit(*company(level=0.3, group=0.3))
    later = company(level=0.3, group=0.3, seed=103)
    assert cover(replace(spread, level=0.0, group=0.0, slope=0.0), *later).covered < 0.8
    assert cover(replace(spread, level=2.0), *later).covered > 0.97


def test_the_parts_are_found_where_they_are_planted():
    spread = fit(*company(level=0.4, group=0.3))
    assert spread.group == pytest.approx(0.3, abs=0.06)
    assert spread.level == pytest.approx(0.4, abs=0.15)
    plain = fit(*company())
    assert plain.group < 0.1 < spread.group
    assert plain.slope == pytest.approx(1 / np.sqrt(36_000 * 0.09 * 1.2**2), rel=0.3)


def test_an_interval_holds_its_score_and_widens_away_from_the_centre():
    spread = ScoreSpread(level=0.1, unsure=0.5, group=0.1, slope=0.2, centre=-2.0)
    model = replace(EMPTY, spread=spread)
    scores = expit(np.array([-6.0, -2.0, 2.0]))
    low, high = model.find_ends(scores, np.zeros(3))
    assert ((low < scores) & (scores < high)).all()
    reach = logit(high) - logit(low)
    assert reach[0] == pytest.approx(reach[2])
    assert reach[1] == pytest.approx(2 * 1.645 * np.sqrt(0.02), rel=1e-3)
    assert reach[0] > 2 * reach[1]
    certain = find_ends(np.array([0.0, 1.0]), np.ones(2))
    assert np.isfinite(certain).all()
    assert (certain[0][0], certain[1][1]) == (0.0, 1.0)


def test_in_a_season_that_training_has_not_seen_it_is_wider():
    spread = ScoreSpread(level=0.1, unsure=0.5, group=0.1, slope=0.0, centre=0.0)
    model = replace(EMPTY, spread=spread, level=Level("year ago", (100.0, 110.0), (0.0, 0.0), 0.0))
    low, high = model.find_ends(np.full(2, 0.2), np.array([105.0, 200.0]))
    assert high[1] - low[1] > 2 * (high[0] - low[0])


def test_a_model_of_an_older_version_knows_no_interval():
    low, high = EMPTY.find_ends(np.array([0.2]), np.zeros(1))
    assert np.isnan([*low, *high]).all()
    assert cover(None, *company(cutoffs=1)) is None


def test_a_spread_that_sampling_explains_is_none():
    generator = np.random.default_rng(1)
    assert estimate_excess(generator.normal(0, 0.5, 200), np.full(200, 0.3)) == 0.0
    assert estimate_excess(generator.normal(0, 1.0, 400), np.full(400, 0.5)) == pytest.approx(np.sqrt(0.5), abs=0.1)
    assert estimate_excess(np.array([5.0]), np.array([0.1])) == 0.0


def test_rows_without_times_have_no_spread_of_levels():
    log_odds, labels, days = company(cutoffs=1)
    spread = fit_spread([Fold(log_odds, log_odds, labels, days)], 0.5, 1.0, None)
    assert (spread.level, spread.unsure) == (0.0, 0.0)
    assert spread.slope > 0
