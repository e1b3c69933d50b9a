"""What tidewater's service organisation leaves behind, and that its hidden truth is of the same life."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.core.contract import FIRST_ACTIONS
from features.samples import tidewater
from features.samples.service.actions import REWORK
from features.samples.service.problems import read_problems


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    out = tmp_path_factory.mktemp("samples") / "tidewater"
    tidewater.write_sample(out, accounts=300, months=9, seed=11)
    names = (*tidewater.TABLES[:2], *tidewater.SERVICE_TABLES, *tidewater.SERVICE_TRUTH)
    return {name: pq.read_table(out / name).to_pandas() for name in names}


def test_every_ticket_is_told_in_words_of_its_problem_in_both_languages(tables):
    told = tables["tickets"].merge(tables["truth_tickets"][["ticket_id", "problem"]], on="ticket_id")
    assert len(told) == len(tables["tickets"]) == len(tables["truth_tickets"])
    words = {p.key: p.wordings for p in read_problems()}
    whole = [
        any(w in body for w in words[problem][language == "zh"])
        for body, problem, language in zip(told["body"], told["problem"], told["language"], strict=True)
    ]
    assert 0.5 < np.mean(whole) < 0.9  # the others have slips
    assert 0.05 < (told["language"] == "zh").mean() < 0.4
    assert told["problem"].nunique() == len(words) == 24
    assert (told["body"] + told["subject"]).nunique() > 0.8 * len(told)


def test_only_what_tells_of_trouble_moves_leaving_and_the_sums_add_up(tables):
    tickets, problems = tables["truth_tickets"], tables["truth_problems"].set_index("problem")
    assert (tickets.loc[~tickets["marks"], "effect_churn_90d"] == 0).all()
    assert tickets.loc[tickets["marks"], "effect_churn_90d"].mean() > 0.02
    assert problems["leavers_90d"].sum() == pytest.approx(tickets["effect_churn_90d"].sum())
    harmful = {"price_rise", "outage_peak", "sso_lockout", "export_rows", "double_sync", "charged_twice"}
    assert len(harmful & {*problems.sort_values("leavers_90d").index[-6:]}) >= 4
    assert problems.loc[["dark_mode", "scheduled_reports"], "leavers_90d"].abs().max() == 0


def test_costs_add_up_to_the_payroll(tables):
    tickets, rate = tables["tickets"], tables["staff"].set_index("email")["rate_per_hour"].astype(float)
    worked = tickets["minutes"].astype(float).fillna(0) / 60 * tickets["handled_by"].map(rate)
    assert worked.sum() == pytest.approx(tables["truth_payroll"]["paid"].sum(), rel=1e-9)


def test_first_actions_overlap_and_weighting_by_their_chances_gives_the_true_costs(tables):
    told = tables["tickets"].merge(tables["truth_tickets"], on="ticket_id", suffixes=("", "_true"))
    told = told[told["known"]]
    assert told["p_first_action"].min() >= 0.039
    assert (told["first_action"] == told["first_action_true"]).all()
    for action in FIRST_ACTIONS:
        taken = told[told["first_action"] == action]
        weighted = np.average(taken["first_contact_resolved"].astype(float), weights=1 / taken["p_first_action"])
        assert weighted == pytest.approx(told[f"p_settled_{action}"].mean(), abs=0.12), action
    rework = told.groupby("first_contact_resolved")["minutes"].apply(lambda m: m.astype(float).mean())
    assert rework[False] - rework[True] > REWORK / 2
    best = tables["truth_actions"].query("is_best").set_index("topic")["first_action"]
    assert best.to_dict() == {
        "how-to": "self_service",
        "bug": "escalation",
        "outage": "call",
        "billing": "answer",
        "price": "call",
        "integration": "escalation",
        "idea": "answer",
    }


def test_what_was_settled_does_not_come_back_within_two_weeks(tables):
    told = tables["tickets"].merge(tables["truth_tickets"], on="ticket_id", suffixes=("", "_true"))
    told = told.sort_values(["account_id", "ticket_id"])
    before = told.groupby("account_id")[["problem", "opened_at", "first_contact_resolved", "marks"]].shift()
    soon = (told["opened_at"] - before["opened_at"]) < pd.Timedelta(days=14)
    again = soon & (told["problem"] == before["problem"]) & ~told["marks"]
    assert not (again & (before["first_contact_resolved"] == True)).any()  # noqa: E712  # null is neither
    assert (again & (before["first_contact_resolved"] == False)).any()  # noqa: E712  # likewise


def test_people_surveys_and_promises_belong_to_accounts_and_end_after_they_begin(tables):
    known = set(tables["accounts"]["account_id"])
    for name in ("people", "contracts", "surveys", "promises"):
        assert len(tables[name])
        assert set(tables[name]["account_id"]) <= known
    people, surveys = tables["people"], tables["surveys"]
    assert people["person_id"].is_unique
    assert set(surveys["person_id"]) <= set(people["person_id"])
    assert (people["until"].dropna() > people.loc[people["until"].notna(), "since"]).all()
    assert surveys["score"].between(0, 10).all()
    contracts = tables["contracts"]
    assert (contracts["notice_until"] < contracts["ends"]).all()
    assert tables["promises"]["kept_at"].isna().any()
