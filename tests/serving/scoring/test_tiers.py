import json

import numpy as np
import pandas as pd

from serving.scoring.tiers import TIERS, classify

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


def worth(frame, account):
    return classify(frame).table.set_index("account_id")["worth"][account]


def test_the_best_fifth_is_a_and_the_worst_is_e():
    tiers = classify(accounts())
    assert tiers.left_out == {}
    assert tiers.table["tier"].tolist() == [tier for tier in reversed(TIERS) for _ in range(20)]


def test_the_order_of_rows_means_nothing():
    shuffled = classify(accounts().sample(frac=1, random_state=3))
    assert shuffled.as_dict() == {**classify(accounts()).as_dict(), "tiers": shuffled.as_dict()["tiers"]}
    assert shuffled.as_dict()["tiers"] == classify(accounts()).as_dict()["tiers"]


def test_each_side_counts_in_its_direction():
    even = {"spend_365d": 5000.0, "cost_to_serve": 100.0, "tickets_365d": 4.0, "urgent_tickets_90d": 1.0}
    even["returns_share_365d"] = 0.1
    better = {"spend_365d": 9000, "cost_to_serve": 10, "tickets_365d": 0, "urgent_tickets_90d": 0}
    better |= {"returns_share_365d": 0}
    for column, value in better.items():
        frame = accounts(**even)
        frame.loc[7, column] = value
        assert classify(frame).table["worth"].idxmax() == 7, column


def test_what_is_missing_is_left_out_and_said():
    frame = accounts().drop(columns=["cost_to_serve", "tickets_365d", "urgent_tickets_90d", "escalated_tickets_90d"])
    frame["returns_share_365d"] = np.nan
    tiers = classify(frame)
    assert set(tiers.left_out) == {"profit", "return on effort", "difficulty", "integrity"}
    assert "without profit: there is no column cost_to_serve" in "\n".join(tiers.lines())
    assert tiers.table.columns.tolist() == ["account_id", "tier", "worth", "revenue"]
    assert tiers.table["tier"].iloc[-1] == "A"


def test_an_account_without_one_value_is_classed_by_its_other_sides():
    frame = accounts()
    frame.loc[99, "returns_share_365d"] = np.nan
    assert classify(frame).table["tier"].iloc[99] == "A"


def test_an_account_of_which_nothing_is_known_has_no_tier():
    frame = accounts()[["account_id", "spend_365d"]]
    frame.loc[5, "spend_365d"] = np.nan
    tiers = classify(frame)
    assert tiers.table["tier"].isna().tolist() == [n == 5 for n in range(N)]
    assert len(json.loads(json.dumps(tiers.as_dict(), allow_nan=False))["tiers"]) == N - 1
    assert classify(accounts()[["account_id"]]).table["tier"].isna().all()


def test_given_margin_and_payment_are_used():
    frame = accounts(margin_365d=np.arange(N)[::-1].astype(float), paid_share_365d=1.0)
    profit = classify(frame).table["profit"]
    assert profit.is_monotonic_decreasing
    frame.loc[3, "paid_share_365d"] = 0.0
    assert classify(frame).table["integrity"].idxmin() == 3


def test_hard_tickets_without_revenue_are_the_worst_there_is():
    frame = accounts()
    frame.loc[50, ["spend_365d", "urgent_tickets_90d"]] = [0.0, 3.0]
    assert classify(frame).table["difficulty"].idxmin() == 50
