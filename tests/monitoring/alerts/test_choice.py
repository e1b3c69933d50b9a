"""Which candidates open: the most expected first, until each owner's week is full; and what is kept of it."""

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.settings import Capacity, Stakes
from monitoring.alerts.choice import CHOSEN, FULL, NOT_WORTH_IT, Candidate, choose
from monitoring.alerts.signals import Signal
from training.decisions.expected_loss import compute_expected_loss_avoided


def candidate(account, expected, owner="a@x.test", *, kind="churn", **rest):
    return Candidate(Signal(account, kind, True, 0.5, 100.0, "why"), expected, "revive_usage", owner, **rest)


def outcome(choices):
    return {c.candidate.signal.account_id: c.reason for c in choices}


TWO_A_WEEK = Capacity(hours=1)


def test_an_owner_gets_the_most_expected_that_fit_into_the_week():
    choices = choose([candidate(a, x) for a, x in (("A", 10), ("B", 30), ("C", 20))], TWO_A_WEEK, opened=[])
    assert outcome(choices) == {"B": CHOSEN, "C": CHOSEN, "A": FULL}
    assert [(c.rank, c.threshold, c.capacity) for c in choices] == [(1, 20, 60.0), (2, 20, 60.0), (3, 20, 60.0)]


def test_what_opened_in_the_last_seven_days_has_taken_its_time():
    choices = choose([candidate("A", 10), candidate("B", 5)], TWO_A_WEEK, opened=[("a@x.test", "churn")])
    assert outcome(choices) == {"A": CHOSEN, "B": FULL}
    assert {c.capacity for c in choices} == {30.0}


def test_one_owners_full_week_is_not_anothers():
    choices = choose([candidate("A", 10), candidate("B", 5, "b@x.test")], Capacity(hours=0.5), opened=[])
    assert outcome(choices) == {"A": CHOSEN, "B": CHOSEN}
    assert {c.threshold for c in choices} == {None}


def test_below_break_even_nothing_opens_however_much_time_there_is():
    assert outcome(choose([candidate("A", 0.0)], Capacity(hours=100), opened=[])) == {"A": NOT_WORTH_IT}


def test_the_fallback_owner_takes_any_number():
    many = [candidate(f"{n}", 1.0, is_unlimited=True) for n in range(9)]
    assert set(outcome(choose(many, TWO_A_WEEK, opened=[])).values()) == {CHOSEN}


def test_an_obstacle_is_kept_and_takes_no_time():
    muted = candidate("A", 99, obstacle="muted")
    choices = choose([muted, candidate("B", 2), candidate("C", 1)], TWO_A_WEEK, opened=[])
    assert outcome(choices) == {"A": "muted", "B": CHOSEN, "C": CHOSEN}


def test_single_owners_and_kinds_have_times_of_their_own():
    capacity = Capacity(hours=0, owners={"A@X.test": 1}, minutes={"churn": 60})
    choices = choose([candidate("A", 2), candidate("B", 1), candidate("C", 3, "b@x.test")], capacity, opened=[])
    assert outcome(choices) == {"C": FULL, "A": CHOSEN, "B": FULL}
    assert {c.candidate.signal.account_id: c.threshold for c in choices} == {"C": 3, "A": 2, "B": 2}


ANY = st.lists(
    st.tuples(
        st.floats(-5, 100), st.sampled_from(["a@x.test", "b@x.test", None]), st.sampled_from(["churn", "upsell"])
    ),
    max_size=12,
)


@given(ANY, st.floats(0, 3))
@hypothesis_settings(max_examples=60)
def test_no_week_is_over_full_and_what_is_left_out_is_worth_no_more_than_what_was_taken(drawn, hours):
    capacity = Capacity(hours=hours)
    candidates = [candidate(f"{n}", x, owner, kind=kind) for n, (x, owner, kind) in enumerate(drawn)]
    choices = choose(candidates, capacity, opened=[])
    assert [c.rank for c in choices] == list(range(1, len(candidates) + 1))
    for owner in ("a@x.test", "b@x.test"):
        own = [c for c in choices if c.candidate.owner == owner]
        taken = [c.candidate for c in own if c.chosen]
        assert sum(capacity.get_minutes(c.signal.kind) for c in taken) <= 60 * hours + 1e-6
        left_out = [c.candidate.expected for c in own if c.reason == FULL]
        assert max(left_out, default=-1) <= min((c.expected for c in taken), default=100)


def test_the_expected_loss_is_risk_times_value_times_save_rate_less_the_contact():
    stakes = Stakes(contact=20, save_rates={"renew_early": 0.5, "renew_early/A": 0.8})
    known = {"risk": 0.25, "value": 1000.0}
    assert compute_expected_loss_avoided(stakes, **known, play="renew_early", tier="A") == 0.25 * 1000 * 0.8 - 20
    assert compute_expected_loss_avoided(stakes, **known, play="renew_early", tier="B") == 0.25 * 1000 * 0.5 - 20
    assert compute_expected_loss_avoided(stakes, **known, play="fix_service", tier="A") == 0.25 * 1000 * 0.3 - 20
    unknown = compute_expected_loss_avoided(stakes, risk=0.5, value=None, play=None, tier=None)
    assert unknown == 0.5 * 200 * 0.3 - 20
