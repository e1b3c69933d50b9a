"""Ranks among peers and the parent's state, worked out by hand."""

import math
from datetime import UTC, datetime

import pytest

from features.engine import snapshots

NOW = datetime(2024, 7, 1, tzinfo=UTC)


@pytest.fixture
def frame(company):
    """Five accounts: three on plan a, two on plan b; C is the child of A, D of one that isn't there."""

    def build(*as_ofs, plans=True):
        header = "account_id,created_at,plan,parent_id" if plans else "account_id,created_at,owner_email,parent_id"
        company.table(
            "accounts",
            header,
            "A,2023-01-01,a,",
            "B,2023-01-01,a,",
            "C,2023-01-01,a,A",
            "D,2023-01-01,b,gone",
            "E,2023-01-01,b,",
        )
        used = [
            f"{account},2024-06-{day:02}"
            for account, days in zip("ABCD", (3, 1, 1, 2), strict=True)
            for day in range(10, 10 + days)
        ]
        company.table("usage", "account_id,used_at", *used, "A,2024-03-01")
        with company.open() as history:
            return snapshots.build(history, as_ofs or [NOW]).set_index("account_id")

    return build


def test_a_rank_is_the_share_of_peers_with_less_and_half_of_those_with_as_much(frame):
    found = frame()["rank_usage_events_30d"]
    assert found[["A", "B", "C"]].tolist() == [1.0, 0.25, 0.25]
    assert found[["D", "E"]].tolist() == [1.0, 0.0]


def test_without_a_segment_all_accounts_are_peers(frame):
    found = frame(plans=False)["rank_usage_events_30d"]
    assert found.tolist() == [1.0, (1 + 1 / 2) / 4, (1 + 1 / 2) / 4, 3 / 4, 0.0]


def test_a_rank_is_null_where_the_value_is(frame):
    found = frame()
    assert math.isnan(found["usage_trend_30d"]["E"])
    assert math.isnan(found["rank_usage_trend_30d"]["E"])


def test_ranks_look_at_one_instant_alone(frame):
    both = frame(datetime(2024, 3, 15, tzinfo=UTC), NOW)
    early = both[both["as_of"] < NOW]["rank_usage_events_30d"]
    assert early[["A", "B", "C"]].tolist() == [1.0, 0.25, 0.25]
    assert both[both["as_of"] == NOW]["rank_usage_events_30d"].tolist() == frame()["rank_usage_events_30d"].tolist()


def test_the_parents_state_stands_beside_the_child(frame):
    found = frame()
    assert found["parent_usage_trend_30d"]["C"] == found["usage_trend_30d"]["A"]
    assert found["parent_usage_trend_30d"][["A", "B", "D", "E"]].isna().all()


def test_models_do_not_learn_from_other_accounts_rows(frame):
    from training.models import dataset

    found = frame().reset_index()
    assert not [c for c in dataset.select_features(found.items())[0] if c.startswith(("rank_", "parent_"))]
