import threading

import pytest
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.state.tables import ALERT_RUNS, EPISODES, METADATA, OUTBOX
from monitoring.cli_output import build_alerts_json, format_alerts

FIRST, SECOND, THIRD, FOURTH = "2024-06-01", "2024-06-08", "2024-06-15", "2024-06-22"


def opened(outcome):
    return sorted(o.score.account_id for o in outcome.opened)


def closed(outcome):
    return {c.episode.account_id: c.outcome for c in outcome.closed}


def test_an_account_at_or_above_the_entry_threshold_opens_one_episode_with_one_message(any_company):
    any_company.score(FIRST, {"A": 0.6, "B": 0.59, "C": 0.9})
    outcome = any_company.alert(FIRST)
    assert opened(outcome) == ["A", "C"]
    assert outcome.considered == 3
    assert any_company.rows(EPISODES, "account_id", "opened_score", "outcome") == [("A", 0.6, None), ("C", 0.9, None)]
    messages = any_company.rows(OUTBOX, "recipient", "state", "attempts")
    assert messages == [("a@owners.test", "pending", 0), ("c@owners.test", "pending", 0)]


def test_between_the_thresholds_an_episode_stays_open_but_none_opens(any_company):
    any_company.score(FIRST, {"A": 0.7, "B": 0.5})
    any_company.alert(FIRST)
    any_company.score(SECOND, {"A": 0.4, "B": 0.5})
    outcome = any_company.alert(SECOND)
    assert (outcome.opened, outcome.closed) == ((), ())
    assert [c.episode.account_id for c in outcome.continued] == ["A"]
    assert len(any_company.rows(OUTBOX, "id")) == 1


def test_an_open_episode_keeps_its_peak_and_last_score(any_company):
    for as_of, score in ((FIRST, 0.7), (SECOND, 0.9), (THIRD, 0.5)):
        any_company.score(as_of, {"A": score})
        any_company.alert(as_of)
    assert any_company.rows(EPISODES, "opened_score", "peak_score", "last_score") == [(0.7, 0.9, 0.5)]


def test_episodes_close_as_recovered_or_left(any_company):
    any_company.score(FIRST, {"A": 0.7, "B": 0.7})
    any_company.alert(FIRST)
    any_company.score(SECOND, {"A": 0.39, "B": {"score": 0.8, "in_cohort": False}, "D": 0.1})
    assert closed(any_company.alert(SECOND)) == {"A": "recovered", "B": "left"}
    assert any_company.rows(EPISODES, "account_id", "outcome", "last_score") == [
        ("A", "recovered", 0.39),
        ("B", "left", None),
    ]


def test_an_account_that_enters_risk_again_opens_a_new_episode_and_its_owner_hears_again(any_company):
    for as_of, score in ((FIRST, 0.7), (SECOND, 0.1), (THIRD, 0.8)):
        any_company.score(as_of, {"A": score})
        outcome = any_company.alert(as_of)
    assert opened(outcome) == ["A"]
    assert any_company.rows(EPISODES, "opened_score", "outcome") == [(0.7, "recovered"), (0.8, None)]
    assert len(any_company.rows(OUTBOX, "id")) == 2


def test_accounts_outside_the_cohort_open_nothing(company):
    company.score(FIRST, {"A": {"score": 0.9, "in_cohort": False}, "B": {"score": 0.9, "in_cohort": None}, "C": 0.1})
    outcome = company.alert(FIRST)
    assert (outcome.opened, outcome.considered) == ((), 1)


def test_scores_of_other_targets_and_horizons_do_not_count(company):
    company.score(FIRST, {"A": 0.1})
    company.score(FIRST, {"A": 0.9}, target="upsell")
    company.score(FIRST, {"A": 0.9}, horizon=30)
    assert company.alert(FIRST).opened == ()


def test_running_again_for_the_same_date_does_nothing(any_company):
    any_company.score(FIRST, {"A": 0.7})
    any_company.alert(FIRST)
    before = [any_company.rows(table) for table in (ALERT_RUNS, EPISODES, OUTBOX)]
    any_company.score(FIRST, {"A": 0.7, "B": 0.9})  # scored again meanwhile
    again = any_company.alert(FIRST)
    assert (again.fresh, again.opened) == (False, ())
    assert [any_company.rows(table) for table in (ALERT_RUNS, EPISODES, OUTBOX)] == before


def test_two_runs_at_the_same_time_open_each_episode_once(any_company):
    any_company.score(FIRST, {"A": 0.7, "B": 0.8})
    together = threading.Barrier(2)

    def bindings(accounts):
        together.wait(timeout=20)  # both have found nothing processed yet
        return any_company.bindings(accounts)

    outcomes = []
    runs = [
        threading.Thread(target=lambda: outcomes.append(any_company.alert(FIRST, bindings=bindings))) for _ in range(2)
    ]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert sorted(o.fresh for o in outcomes) == [False, True]
    assert len(any_company.rows(EPISODES, "id")) == len(any_company.rows(OUTBOX, "id")) == 2


def test_the_database_itself_refuses_a_second_open_episode_of_an_account(any_company):
    any_company.score(FIRST, {"A": 0.7})
    any_company.alert(FIRST)
    twin = dict(zip(EPISODES.c.keys(), any_company.rows(EPISODES)[0], strict=True)) | {"id": "x", "opened_as_of": 1}
    with pytest.raises(GarrisonError), any_company.state.writing() as connection:
        connection.execute(sa.insert(EPISODES), twin)


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(company):
    company.score(FIRST, {"A": 0.7})
    assert opened(company.alert(FIRST, dry_run=True)) == ["A"]
    assert [company.rows(table) for table in (ALERT_RUNS, EPISODES, OUTBOX)] == [[], [], []]
    assert opened(company.alert(FIRST)) == ["A"]


def test_a_date_before_the_newest_processed_is_refused(company):
    for as_of in (FIRST, SECOND):
        company.score(as_of, {"A": 0.7})
    company.alert(SECOND)
    with pytest.raises(GarrisonError, match=r"can't go back to 2024-06-01.*raised as of 2024-06-08"):
        company.alert(FIRST)


def test_without_a_date_the_newest_scores_are_taken(company):
    for as_of in (FIRST, SECOND):
        company.score(as_of, {"A": 0.7})
    assert company.alert().as_of.date().isoformat() == SECOND


def test_without_scores_the_error_names_the_command_that_makes_them(company):
    with pytest.raises(GarrisonError, match=r"no churn scores.*serving score --as-of"):
        company.alert()
    company.score(FIRST, {"A": 0.7})
    with pytest.raises(GarrisonError, match=r"as of 2024-06-08.*newest are of 2024-06-01.*score --as-of 2024-06-08"):
        company.alert(SECOND)


def test_scores_of_another_model_than_the_champion_are_refused(company):
    company.score(FIRST, {"A": 0.7})
    company.score(FIRST, {"B": 0.7}, model="churn-0")
    with pytest.raises(GarrisonError, match=r"champion churn-1.*churn-0, churn-1.*score --as-of 2024-06-01"):
        company.alert(FIRST)
    assert company.rows(ALERT_RUNS) == []


def test_names_of_episodes_and_messages_are_the_same_in_every_database(company, tmp_path):
    company.score(FIRST, {"A": 0.7})
    other = type(company)(tmp_path / "other") if (tmp_path / "other").mkdir() is None else None
    other.score(FIRST, {"A": 0.7})
    names = [(o.alert(FIRST).opened[0].episode, o.rows(OUTBOX, "id")) for o in (company, other)]
    other.state.close()
    assert names[0] == names[1]


def test_what_is_over_the_cap_of_an_owner_comes_in_one_digest(company):
    company.configure(per_owner=2)
    company.accounts(dict.fromkeys("ABCD", "one@owners.test") | {"E": "other@owners.test"})
    values = {"A": 100.0, "B": 900.0, "C": None, "D": 800.0, "E": 10.0}
    company.score(FIRST, {a: {"score": 0.8, "value": value} for a, value in values.items()})
    outcome = company.alert(FIRST)
    # Where a value is not known, that of [stakes] stands for it: 200.
    assert [o.score.account_id for o in outcome.opened] == ["B", "D", "C", "A", "E"]
    forms = {o.score.account_id: outcome.mailing.forms[o.episode] for o in outcome.opened}
    assert forms == {"B": "letter", "D": "letter", "A": "digest", "E": "letter", "C": "digest"}
    messages = dict(company.rows(OUTBOX, "id", "kind"))
    assert sorted(messages.values()) == ["digest", "opened", "opened", "opened"]
    told = {account: messages[message] for account, message in company.rows(EPISODES, "account_id", "message_id")}
    assert told == {"B": "opened", "D": "opened", "E": "opened", "A": "digest", "C": "digest"}
    [digest] = [body for body, kind in company.rows(OUTBOX, "body", "kind") if kind == "digest"]
    assert "Company A" in digest
    assert "Company C" in digest


def test_the_message_names_trend_and_date_of_the_last_score_before(company):
    company.score("2024-05-01", {"A": 0.2})
    company.score("2024-05-08", {"A": 0.35})
    company.score("2024-05-08", {"A": 0.99}, horizon=30)
    company.score(FIRST, {"A": 0.62})
    company.alert(FIRST)
    [(body,)] = company.rows(OUTBOX, "body")
    assert "Risk now: 62 %" in body
    assert "Trend: up from 35 % on 8 May 2024" in body


def test_a_message_without_owner_goes_to_the_fallback_owner_or_is_kept_as_undeliverable(company):
    company.accounts({"A": None, "B": "b@owners.test"})
    company.score(FIRST, {"A": 0.7, "B": 0.7})
    company.alert(FIRST)
    assert (None, "undeliverable") in company.rows(OUTBOX, "recipient", "state")
    company.configure(fallback_owner="desk@owners.test")
    company.score(SECOND, {"A": 0.1, "B": 0.7})
    company.alert(SECOND)
    company.score(THIRD, {"A": 0.7, "B": 0.7})
    company.alert(THIRD)
    with company.state.reading() as connection:
        told = connection.scalars(sa.select(OUTBOX.c.recipient).where(OUTBOX.c.state == "pending"))
        assert sorted(told) == ["b@owners.test", "desk@owners.test"]


def test_a_run_that_fails_while_it_writes_leaves_nothing(any_company):
    any_company.score(FIRST, {"A": 0.7})
    twin = any_company.alert(FIRST, dry_run=True).opened[0].episode
    filled = dict.fromkeys(("account_id", "kind", "model", "state"), "x") | dict.fromkeys(
        ("opened_score", "peak_score"), 1.0
    )
    with any_company.state.writing() as connection:  # the episode's name is taken: writing it must fail
        row = {"id": twin, "horizon": 1, "version": 1, "opened_as_of": 1, "last_as_of": 1, **filled}
        connection.execute(sa.insert(EPISODES), row)
    with pytest.raises(GarrisonError):
        any_company.alert(FIRST)
    assert (any_company.rows(ALERT_RUNS), any_company.rows(OUTBOX)) == ([], [])


def test_the_migration_makes_the_tables_that_the_code_declares(any_company):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with any_company.state.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_hysteresis_does_not_flap_on_a_score_that_swings_between_the_thresholds(company):
    for week, score in enumerate((0.61, 0.45, 0.61, 0.41, 0.65)):
        as_of = f"2024-07-{1 + 7 * week:02}"
        company.score(as_of, {"A": score})
        company.alert(as_of)
    assert len(company.rows(EPISODES, "id")) == 1


def test_with_a_lead_the_risk_is_told_from_as_of_to_the_horizons_end(company):
    company.lead(14)
    company.score(FIRST, {"A": 0.9})
    outcome = company.alert(FIRST)
    assert any("Risk within 104 days by churn-1" in line for line in format_alerts(outcome, dry_run=False))
    data = build_alerts_json(outcome, dry_run=False)
    assert (data["horizon"], data["lead_days"]) == (90, 14)
    ((subject, body),) = company.rows(OUTBOX, "subject", "body")
    assert subject == "At risk: Company A (about 9 in 10 to leave within 104 days)"
    assert "at risk of leaving within 104 days." in body
    assert company.rows(EPISODES, "horizon") == [(90,)]


def test_limits_come_from_the_champion(company):
    from monitoring.alerts.limits import find_thresholds

    class Champion:
        version, horizons, base_rates = "churn-7", (90,), {90: 0.1}

    limits = find_thresholds({"churn": Champion()}, company.settings)
    assert (limits.model, limits.base_rate) == ("churn-7", 0.1)
    assert (limits.enter, limits.leave) == (pytest.approx(0.2 / 1.1), pytest.approx(0.1))
    with pytest.raises(GarrisonError, match="no model is champion"):
        find_thresholds({}, company.settings)
    Champion.horizons = (30,)
    with pytest.raises(GarrisonError, match="no score over 90 days"):
        find_thresholds({"churn": Champion()}, company.settings)
