"""From the settings of an experiment through the alerts to the draws: who is held out, and who gets which play."""

from datetime import UTC, datetime

import pytest

from features.core.errors import GarrisonError
from features.settings.load import load_settings
from features.state.experiment_tables import EXPERIMENTS
from features.state.tables import ALERT_CHOICES, EPISODES, EXPERIMENT_DRAWS, OUTBOX
from monitoring.alerts.choice import CHOSEN, NOT_DRAWN
from monitoring.alerts.draws import HELD_OUT
from monitoring.alerts.facts import AccountFacts
from monitoring.binding.account_records import AccountRecord
from monitoring.binding.bindings import BindingRules
from monitoring.experiments.assignment import draw_lot

ACCOUNTS = [f"a{n:02}" for n in range(60)]
AT, LATER = "2024-04-01", "2024-04-09"


def is_drawn(unit, share, *, purpose="holdout", name="standing"):
    return draw_lot(unit, experiment=name, purpose=purpose) < share


@pytest.fixture
def make(company):
    """A company of sixty accounts at risk whose owner has time for all, or hours as given, with an experiment."""
    company.accounts(dict.fromkeys(ACCOUNTS, "one@owners.test"))

    def build(experiment, hours=100, accounts=ACCOUNTS):
        text = company.file.read_text().split("[experiment]")[0]
        company.file.write_text(f"{text}[experiment]\n{experiment}\n[capacity]\nhours = {hours}\n")
        company.settings = load_settings(company.file)
        score(company, AT, accounts)
        return company

    return build


def score(company, at, accounts=ACCOUNTS, **scores):
    base = {a: {"score": 0.8 - n / 400, "value": 1_000.0} for n, a in enumerate(accounts)}
    company.score(at, base | {a: {"score": s, "value": 1_000.0} for a, s in scores.items()})


def in_families(company, parents):
    """Bind accounts under the parents given."""

    def bind(accounts):
        records = {a: AccountRecord(a, "one@owners.test", None, parents.get(a)) for a in {*accounts, *parents.values()}}
        return BindingRules(company.settings, {}).bind(records, accounts, {})

    return bind


def reasons(company, at=AT):
    micros = int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() * 1e6)
    rows = company.rows(ALERT_CHOICES, "account_id", "reason", "as_of")
    return {account: reason for account, reason, as_of in rows if as_of == micros}


def draws(company, purpose):
    rows = company.rows(EXPERIMENT_DRAWS, "unit", "treated", "purpose", "probability", "arm")
    return {unit: rest for unit, treated, p, *rest in rows if p == purpose for rest in [(treated, *rest)]}


def test_a_share_of_the_families_is_never_alerted_on_and_the_choices_say_why(make):
    company = make("holdout = 0.3")
    company.alert(AT)
    held = {a for a in ACCOUNTS if is_drawn(a, 0.3)}
    assert 5 < len(held) < 30
    assert {a for a, reason in reasons(company).items() if reason == HELD_OUT} == held
    assert {a for (a,) in company.rows(EPISODES, "account_id")} == set(ACCOUNTS) - held
    assert draws(company, "holdout") == {a: (a not in held, 0.7, None) for a in ACCOUNTS}
    score(company, LATER)
    company.alert(LATER)
    assert held == {a for a, reason in reasons(company, LATER).items() if reason == HELD_OUT}
    assert not held & {a for (a,) in company.rows(EPISODES, "account_id")}


def test_only_who_would_have_been_alerted_on_is_drawn_for_the_holdout(make):
    company = make("holdout = 0.3", hours=5)
    company.alert(AT)
    assert set(draws(company, "holdout")) == set(ACCOUNTS[:10])
    # Those held out take no time from the next run on.
    score(company, LATER)
    company.alert(LATER)
    held = [a for a in ACCOUNTS[:10] if is_drawn(a, 0.3)]
    opened = {a for (a,) in company.rows(EPISODES, "account_id")}
    assert set(draws(company, "holdout")) == set(ACCOUNTS[:20])
    assert opened == {a for a in ACCOUNTS[:20] if not is_drawn(a, 0.3)}
    assert held


def test_families_of_exempt_tiers_are_alerted_on_and_not_drawn(make):
    company = make('holdout = 0.3\nexempt_tiers = ["A"]')
    tiers = {a: "A" if n % 2 else "B" for n, a in enumerate(ACCOUNTS)}

    def bind(accounts):
        records = {a: AccountRecord(a, "one@owners.test") for a in accounts}
        return BindingRules(company.settings, {}).bind(records, accounts, tiers)

    company.alert(AT, bindings=bind, facts=AccountFacts(tiers=tiers))
    held = {a for a, reason in reasons(company).items() if reason == HELD_OUT}
    assert held == {a for a in ACCOUNTS if is_drawn(a, 0.3) and tiers[a] == "B"}
    assert set(draws(company, "holdout")) == {a for a in ACCOUNTS if tiers[a] == "B"}


def test_a_family_is_never_split_and_is_recognised_under_a_new_parent(make):
    company = make("holdout = 0.5\nband = 5", hours=10)
    parents = {a: f"p{n // 3:02}" for n, a in enumerate(ACCOUNTS)}
    company.alert(AT, bindings=in_families(company, parents))
    # Later one company buys half of the others: their families have another topmost account.
    bought = parents | {f"p{n:02}": "holding" for n in range(4)}
    score(company, LATER)
    company.alert(LATER, bindings=in_families(company, bought))
    for at in (AT, LATER):
        held = {parents[a] for a, reason in reasons(company, at).items() if reason == HELD_OUT}
        opened = {parents[a] for a, reason in reasons(company, at).items() if reason == CHOSEN}
        assert not held & opened
        lost = {parents[a] for a, reason in reasons(company, at).items() if reason == NOT_DRAWN}
        assert not lost & opened
    known = set(draws(company, "holdout"))
    assert "holding" not in known


def test_who_lost_a_lot_waits_until_the_risk_has_worsened(make):
    company = make("band = 5", hours=5)
    company.alert(AT)
    lost = sorted(unit for unit, (treated, *_) in draws(company, "lottery").items() if not treated)
    assert len(lost) == 5
    score(company, LATER, **{lost[0]: 0.999})
    company.alert(LATER)
    later = reasons(company, LATER)
    assert later[lost[0]] == CHOSEN
    assert {later[a] for a in lost[1:]} == {NOT_DRAWN}
    assert len(draws(company, "lottery")) == 20


def test_a_family_held_out_is_in_neither_arm_of_the_lottery(make):
    company = make("band = 10\nholdout = 0.4", hours=10)
    company.alert(AT)
    held, drawn = draws(company, "lottery of those held out"), draws(company, "lottery")
    assert set(held) == {a for a in ACCOUNTS[10:30] if is_drawn(a, 0.4)}
    assert set(drawn) == set(ACCOUNTS[10:30]) - set(held)
    assert held


PLAYS = '[[experiment.plays]]\ncause = "usage"\nplays = ["train_users", "revive_usage"]'


def test_lots_choose_between_two_plays_and_the_letter_carries_the_one_drawn(make):
    company = make(PLAYS)
    company.alert(AT)
    drawn = {a: "train_users" if is_drawn(a, 0.5, purpose="plays:usage") else "revive_usage" for a in ACCOUNTS}
    assert len(set(drawn.values())) == 2
    assert dict(company.rows(EPISODES, "account_id", "play")) == drawn
    assert draws(company, "plays:usage") == {a: (p == "train_users", 0.5, p) for a, p in drawn.items()}
    titles = {"train_users": "Train more of their people", "revive_usage": "Bring usage back"}
    accounts = dict(company.rows(EPISODES, "id", "account_id"))
    letters = [(accounts[e], body) for e, body in company.rows(OUTBOX, "episode_id", "body") if e in accounts]
    assert letters
    for account, body in letters:
        assert titles[drawn[account]] in body


def test_a_letter_that_speaks_again_keeps_the_play_drawn(make):
    company = make(PLAYS)
    company.alert(AT)
    before = dict(company.rows(EPISODES, "account_id", "play"))
    company.score(LATER, {a: {"score": 0.99, "value": 1_000.0, "drivers": []} for a in ACCOUNTS})
    run = company.alert(LATER)
    assert {t.going.episode.account_id: t.going.signal.play for t in run.told_again} == before


def test_settings_may_not_change_while_an_experiment_runs(make):
    make("holdout = 0.3").alert(AT)
    company = make("holdout = 0.2")
    score(company, LATER)
    with pytest.raises(GarrisonError, match=r"holdout was 0\.3 and is 0\.2"):
        company.alert(LATER)
    company = make('name = "second"\nholdout = 0.2')
    company.alert(LATER)
    stopped = dict(company.rows(EXPERIMENTS, "name", "stop_rule"))
    assert stopped == {"standing": "renamed", "second": None}


def test_switching_lots_off_while_they_run_asks_for_stop(make):
    make("holdout = 0.3").alert(AT)
    company = make("holdout = 0.0")
    score(company, LATER)
    with pytest.raises(GarrisonError, match="experiment stop"):
        company.alert(LATER)


@pytest.mark.parametrize(
    ("experiment", "problem"),
    [
        ('exempt_tiers = ["A"]', "nothing to be exempt from"),
        ("holdout = 0.9", "holdout"),
        ('[[experiment.plays]]\ncause = "usage"\nplays = ["train_users", "train_users"]', "two different ones"),
        ("[[experiment.plays]]\ncause = 'usage'\nplays = ['a', 'b']\n" * 2, "one pair a cause"),
    ],
)
def test_settings_that_make_no_experiment_are_refused(make, experiment, problem):
    with pytest.raises(GarrisonError, match=problem):
        make(experiment)


@pytest.mark.parametrize(
    ("plays", "problem"),
    [
        ('["train_user", "revive_usage"]', "train_users"),
        ('["talk_price", "revive_usage"]', "it works against price. Plays against usage: revive_usage, train_users"),
    ],
)
def test_plays_that_can_not_be_compared_are_refused(make, plays, problem):
    company = make(f'[[experiment.plays]]\ncause = "usage"\nplays = {plays}')
    with pytest.raises(GarrisonError, match=problem):
        company.alert(AT)
