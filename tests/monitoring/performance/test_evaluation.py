import json
from datetime import UTC, datetime

import numpy as np
import pytest

from features.core.errors import GarrisonError
from features.state.tables import OUTBOX
from monitoring.performance import evaluation
from monitoring.performance.figures import estimate_performance, measure_performance
from tests.support.commands import run_command


def test_the_estimate_is_what_all_pairs_of_accounts_give():
    p = np.array([0.1, 0.4, 0.4, 0.9])
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    weights = [p[a] * (1 - p[b]) for a, b in pairs]
    in_order = [1.0 if p[a] > p[b] else 0.5 if p[a] == p[b] else 0.0 for a, b in pairs]
    found = estimate_performance(p)
    assert found.auc == pytest.approx(np.average(in_order, weights=weights))
    assert found.brier == pytest.approx((0.09 + 0.24 + 0.24 + 0.09) / 4)
    assert found.positives == pytest.approx(1.8)


def test_calibrated_scores_turn_out_as_estimated():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 8, 20_000)
    expected, true = estimate_performance(p), measure_performance(p, (rng.random(len(p)) < p).astype(float))
    assert expected.low <= true.positives <= expected.high
    assert true.auc == pytest.approx(expected.auc, abs=0.02)
    assert true.brier == pytest.approx(expected.brier, abs=0.003)


def test_scores_that_are_too_high_are_found_out():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 8, 5000)
    assert measure_performance(p, (rng.random(len(p)) < p / 2).astype(float)).positives < estimate_performance(p).low


def test_where_nothing_is_in_doubt_there_is_no_auc():
    assert estimate_performance(np.array([0.0, 0.0])).auc is None
    assert estimate_performance(np.array([0.3])).auc is None
    assert measure_performance(np.array([0.3, 0.4]), np.array([1.0, 1.0])).auc is None
    assert (estimate_performance(np.array([0.0, 0.0])).low, estimate_performance(np.array([0.9, 0.9])).high) == (
        0.0,
        2.0,
    )


@pytest.mark.parametrize(("lead", "positives"), [(0, 3), (30, 4), (62, 4), (63, None)])
def test_with_a_lead_labels_are_of_later_and_mature_later(company, lead, positives):
    # A buys inside the lead of 30 days, B inside that of 62 and of the horizon of the others; the data end on 2 July.
    rows = ["A,2024-01-05,10", "A,2024-02-20,10", "B,2024-04-04,10", "Z,2024-07-01,1"]
    company.accounts(dict.fromkeys("ABCDEZ"))
    (company.folder / "purchases.csv").write_text("\n".join(["id,at,amount", *rows]) + "\n")
    company.lead(lead)
    company.score("2024-02-01", dict.fromkeys("ABCDE", 0.5))
    realised = evaluation.run(company.settings).realised
    assert [judged.realised.positives for judged in realised] == ([] if positives is None else [positives])


def test_a_run_estimates_the_newest_scores_and_judges_the_matured_ones(company):
    # A and B buy again within 90 days of 1 February, C to E do not; the data end on 2 July.
    rows = ["A,2024-01-05,10", "A,2024-02-20,10", "B,2024-04-01,10", "Z,2024-07-01,1"]
    company.accounts(dict.fromkeys("ABCDEZ"))
    (company.folder / "purchases.csv").write_text("\n".join(["id,at,amount", *rows]) + "\n")
    outside = {"score": 0.99, "in_cohort": False}
    company.score("2024-02-01", {"A": 0.1, "B": 0.3, "C": 0.6, "D": 0.7, "E": 0.2, "Z": outside})
    company.score("2024-06-01", {"A": 0.2, "B": 0.4})
    found = evaluation.run(company.settings)
    (newest,), (judged,) = found.estimated, found.realised
    assert (newest.as_of, newest.realised) == (datetime(2024, 6, 1, tzinfo=UTC), None)
    assert newest.estimate.positives == pytest.approx(0.6)
    assert (judged.realised.accounts, judged.realised.positives) == (5, 3)
    assert judged.realised.auc == pytest.approx(5 / 6)
    assert judged.estimate.positives == pytest.approx(1.9)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["realised"][0]["as_of"].startswith("2024-02-01")


def test_labels_that_have_not_matured_are_not_judged(company):
    company.score("2024-12-31", {"A": 0.1})
    found = evaluation.run(company.settings)
    assert (found.realised, found.groups) == ((), ())
    done = run_command("monitoring", "performance", "--config", company.file)
    assert "churn, 90 days: no label has matured yet." in done.stdout


@pytest.fixture
def portfolio(company):
    """Sixty accounts of two plans and three owners, scored twice; every third that scores above 0.3 buys no more."""
    random = np.random.default_rng(5)
    ids = [f"a{n:02}" for n in range(60)]
    company.accounts({a: f"owner{n % 3}@owners.test" for n, a in enumerate(ids)})
    scores = dict(zip(ids, random.uniform(0.05, 0.95, 60).round(3), strict=True))
    leave = {a for a in ids if random.random() < scores[a]}
    first = [f"{a},2024-01-05,10" for a in ids]
    company.purchases([*first, *(f"{a},2024-04-20,10" for a in ids if a not in leave), "a00,2024-12-01,1"])
    for at in ("2024-02-01", "2024-03-01"):
        company.score(at, scores)
    company.promote()
    return company, scores, leave


def test_the_command_shows_expected_beside_measured_within_80_columns(portfolio):
    company, scores, leave = portfolio
    done = run_command("monitoring", "performance", "--config", company.file, "--json", company.folder / "p.json")
    assert (done.returncode, done.stderr) == (0, "")
    tables = done.stdout[: done.stdout.rindex("churn, 90 days: ")]
    assert max(len(line) for line in tables.splitlines()) <= 80
    assert f"of 120 scores were expected to come true, {2 * len(leave)} did" in done.stdout
    data = json.loads((company.folder / "p.json").read_text())
    cohort = data["realised"][0]
    above = [a for a in scores if scores[a] >= 0.6]
    assert cohort["realised"]["above"] == cohort["estimate"]["above"] == len(above)
    assert cohort["realised"]["precision"] == pytest.approx(len(leave & {*above}) / len(above))
    assert cohort["estimate"]["precision"] == pytest.approx(np.mean([scores[a] for a in above]))
    for figures in (cohort["estimate"], cohort["realised"]):
        assert figures["auc_low"] < figures["auc"] < figures["auc_high"]
        assert figures["precision_low"] < figures["precision"] < figures["precision_high"]
    page = (company.settings.var / "performance.html").read_text()
    assert page.count("<svg") == 3
    assert "owners.test" not in page + done.stdout + json.dumps(data)


def test_accounts_with_a_sent_message_stand_apart_from_those_without(portfolio):
    company, scores, _ = portfolio
    company.alert("2024-02-01")
    opened = {a for a in scores if scores[a] >= 0.6}
    with company.state.writing() as connection:
        connection.execute(OUTBOX.update().where(OUTBOX.c.position < 4).values(state="sent"))
    groups = {g.value: g for g in evaluation.run(company.settings).groups if g.by == "alerts"}
    # Episodes opened on 1 February are open on 1 March too.
    assert groups["alerted"].realised.accounts == 8
    assert groups["episode, unsent"].realised.accounts == 2 * (len(opened) - 4)
    assert groups["no episode"].realised.accounts == 2 * (60 - len(opened))


def test_groups_are_of_owners_and_a_small_one_has_no_auc(portfolio):
    company, _, leave = portfolio
    groups = evaluation.run(company.settings).groups
    everybody = groups[0]
    assert (everybody.by, everybody.realised.accounts, everybody.realised.positives) == ("all", 120, 2 * len(leave))
    owners = [g for g in groups if g.by == "owner"]
    assert [g.value for g in owners] == ["owner0", "owner1", "owner2"]
    assert sum(g.realised.positives for g in owners) == everybody.realised.positives
    company.accounts({a: "big@owners.test" if n else "small@owners.test" for n, a in enumerate(company.owners)})
    small = next(g for g in evaluation.run(company.settings).groups if g.value == "small")
    assert (small.realised.accounts, small.realised.auc, small.estimate.auc) == (2, None, None)


def test_several_runs_in_one_month_are_measured_once(portfolio):
    company, scores, _ = portfolio
    company.score("2024-02-08", scores)
    assert [f"{s.as_of:%m-%d}" for s in evaluation.run(company.settings).realised] == ["02-01", "03-01"]


def test_intervals_of_the_estimate_hold_what_comes_of_calibrated_scores():
    rng = np.random.default_rng(1)
    scores = rng.beta(1, 6, 300)
    is_above = scores >= 0.3
    expected = estimate_performance(scores, is_above=is_above)
    draws = [measure_performance(scores, (rng.random(300) < scores) * 1.0, is_above=is_above) for _ in range(200)]
    for name, ends in (("auc", "auc"), ("precision", "precision")):
        low, high = getattr(expected, f"{ends}_low"), getattr(expected, f"{ends}_high")
        assert 0.90 <= np.mean([low <= getattr(d, name) <= high for d in draws]) <= 0.99
    assert np.mean([d.ece > expected.ece_high for d in draws]) == pytest.approx(0.05, abs=0.045)
    covered = [d.auc_low <= expected.auc <= d.auc_high for d in draws]
    assert 0.90 <= np.mean(covered) <= 1.0


def test_an_account_with_several_rows_widens_the_interval():
    scores = np.tile(np.linspace(0.05, 0.6, 40), 6)
    accounts = np.tile(np.arange(40), 6)
    alone, together = estimate_performance(scores), estimate_performance(scores, accounts=accounts)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert together.auc == alone.auc


def test_without_scores_it_says_what_to_do(company):
    with pytest.raises(GarrisonError, match="serving score"):
        evaluation.run(company.settings)
