import numpy as np
import pytest

from features.catalog import FEATURES
from features.definitions.plays import PLAYS
from serving.scoring.harmful_side import EITHER, LESS, MORE, find_harmful_side, find_plausible_sides


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("usage_events_30d", LESS),
        ("usage_against_usual_90d", LESS),
        ("usage_trend_30d", LESS),
        ("days_since_usage", MORE),
        ("usage_overdue_90d", MORE),
        ("idle_weeks_84d", MORE),
        ("orders_30d", LESS),
        ("overdue", MORE),
        ("windows_with_more_90d", MORE),
        ("tickets_30d", MORE),
        ("csat_90d", LESS),
        ("rank_csat_90d", LESS),
        ("open_tickets", MORE),
        ("tenure_days", EITHER),
        ("price_paid_365d", EITHER),
    ],
)
def test_each_feature_speaks_for_leaving_on_its_side(name, side):
    assert find_harmful_side(FEATURES[name]) == side


def test_every_feature_against_fallen_use_or_purchases_has_a_side():
    for feature in FEATURES.values():
        if feature.play and PLAYS[feature.play].cause in {"usage", "purchases", "service"}:
            assert find_harmful_side(feature) != EITHER, feature.name


def test_more_than_typical_use_is_no_reason_for_leaving_and_a_missing_value_may_be_named():
    features = [FEATURES[n] for n in ("usage_events_30d", "usage_trend_30d", "tickets_30d", "tenure_days", "csat_90d")]
    sides, middles = find_plausible_sides(features, [20.0, None, 1.0, 400.0, None])
    values = np.array([[35.0, 0.4, 0.0, 1.0, 1.0], [3.0, -0.4, 5.0, 1.0, np.nan], [np.nan] * 5])
    wrong = sides * (values - middles) <= 0
    assert wrong.tolist() == [[True, True, True, False, False], [False] * 5, [False] * 5]
