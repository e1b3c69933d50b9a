import json

import pytest

from features.core.errors import GarrisonError
from monitoring.experiments.holdout import assign_group, estimate_effect

ACCOUNTS = [f"account-{n}" for n in range(4000)]


def held_out(share, experiment="standing"):
    return {a for a in ACCOUNTS if assign_group(a, experiment=experiment, share=share) == "holdout"}


def test_the_lot_is_the_same_in_every_run_and_on_every_machine():
    drawn = [assign_group(a, experiment="standing", share=0.5) for a in "ABCDEFGH"]
    assert drawn == ["treated", "treated", "treated", "treated", "treated", "treated", "treated", "holdout"]


def test_the_share_is_kept():
    assert len(held_out(0.1)) == pytest.approx(400, abs=60)
    assert held_out(0) == set()
    assert held_out(1) == set(ACCOUNTS)


def test_a_larger_share_only_adds_accounts():
    assert held_out(0.1) < held_out(0.2) < held_out(0.5)


def test_another_experiment_draws_anew():
    both = held_out(0.5) & held_out(0.5, "another")
    assert len(both) == pytest.approx(1000, abs=100)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(GarrisonError, match="between 0 and 1"):
        assign_group("A", experiment="standing", share=share)


@pytest.mark.parametrize(
    ("treated", "holdout", "low", "high"),
    [  # the examples of Newcombe 1998, table II, method 10
        ((70, 56), (80, 48), 0.0524, 0.3339),
        ((10, 9), (10, 3), 0.1705, 0.8090),
        ((10, 10), (20, 0), 0.6791, 1.0000),
        ((10, 10), (10, 0), 0.6075, 1.0000),
    ],
)
def test_the_interval_is_newcombes(treated, holdout, low, high):
    found = estimate_effect(treated, holdout)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_the_verdict_follows_the_interval():
    assert "the alerts saved accounts: 200" in estimate_effect((1000, 900), (1000, 700)).lines()[-1]
    assert "the alerts lost accounts" in estimate_effect((1000, 700), (1000, 900)).lines()[-1]
    assert "can't be told yet" in estimate_effect((20, 18), (10, 8)).lines()[-1]


def test_without_a_holdout_nothing_is_claimed():
    found = estimate_effect((100, 90), (0, 0))
    assert found.saved is None
    assert "can't be told" in found.lines()[-1]
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["difference"] is None


def test_counts_that_do_not_add_up_are_refused():
    with pytest.raises(GarrisonError, match="more accounts stayed"):
        estimate_effect((10, 11), (10, 1))
