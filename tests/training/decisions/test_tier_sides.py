import numpy as np
import pandas as pd
import pytest

from features.settings.tiers import SIDES, TIER_NAMES, Tiers
from serving.tiers.course import assign_tiers
from training.decisions.tier_cuts import Cuts
from training.decisions.tier_sides import measure_sides

N = 100


def accounts(**changed):
    """Account 0 is the worst from every side, account 99 the best."""
    n = np.arange(N, dtype=float)
    columns = {
        "account_id": [f"a{i:02d}" for i in range(N)],
        "spend_365d": 1000 + 100 * n,
        "cost_to_serve": 500 - n,
        "tickets_365d": (N - n) // 10,
        "urgent_tickets_90d": (N - n) // 20,
        "escalated_tickets_90d": 0.0,
        "returns_share_365d": 0.5 - n / 200,
    }
    return pd.DataFrame(columns | changed)


def classify(frame, **settings):
    sides, left_out = measure_sides(frame)
    chosen = Tiers(**settings)
    cuts = Cuts.freeze("2026-Q1", sides, chosen)
    return assign_tiers(frame["account_id"].tolist(), sides, cuts=cuts, settings=chosen, left_out=left_out)


def test_the_best_fifth_is_a_and_the_worst_is_e():
    tiers = classify(accounts())
    assert tiers.left_out == {}
    assert tiers.table["tier"].tolist() == [tier for tier in reversed(TIER_NAMES) for _ in range(20)]


def test_shares_and_weights_are_the_companys_own():
    few = classify(accounts(), shares=(0.05, 0.15, 0.2, 0.2, 0.4)).table["tier"].value_counts()
    assert few[list(TIER_NAMES)].tolist() == [5, 15, 20, 20, 40]
    odd = accounts(returns_share_365d=np.linspace(0, 0.5, N))  # the worst payers bring most
    only = dict.fromkeys(SIDES, 0.0) | {"integrity": 1.0}
    assert classify(odd).table["tier"].iloc[-1] == "A"
    assert classify(odd, weights=only).table["tier"].iloc[-1] == "E"


def test_the_order_of_rows_means_nothing():
    def by_account(frame):
        return classify(frame).table.set_index("account_id")["tier"].to_dict()

    assert by_account(accounts().sample(frac=1, random_state=3)) == by_account(accounts())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("spend_365d", 9000),
        ("cost_to_serve", 10),
        ("tickets_365d", 0),
        ("urgent_tickets_90d", 0),
        ("returns_share_365d", 0),
    ],
)
def test_each_side_counts_in_its_direction(column, value):
    even = {"spend_365d": 5000.0, "cost_to_serve": 100.0, "tickets_365d": 4.0, "urgent_tickets_90d": 1.0}
    frame = accounts(**even, returns_share_365d=0.1)
    frame.loc[7, column] = value
    assert classify(frame).table["tier_worth"].idxmax() == 7


def test_what_is_missing_is_left_out_and_said():
    frame = accounts().drop(columns=["cost_to_serve", "tickets_365d", "urgent_tickets_90d", "escalated_tickets_90d"])
    frame["returns_share_365d"] = np.nan
    tiers = classify(frame)
    assert set(tiers.left_out) == {"profit", "return_on_effort", "difficulty", "integrity"}
    assert "without profit: there is no column cost_to_serve" in "\n".join(tiers.lines())
    assert tiers.table["tier"].iloc[-1] == "A"


def test_an_account_of_which_nothing_is_known_has_no_tier():
    tiers = classify(pd.DataFrame({"account_id": ["a", "b"], "spend_365d": [np.nan, 5.0]}))
    assert tiers.table["tier"].tolist() == [None, "A"]


def test_without_any_side_nobody_has_a_tier():
    tiers = classify(pd.DataFrame({"account_id": ["a", "b"]}))
    assert tiers.table["tier"].tolist() == [None, None]
