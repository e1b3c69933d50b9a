"""Training on a small company: it finds what was planted, never looks ahead, and says clearly why it can't."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.catalog import usage_mix
from features.core.errors import LabelError
from features.engine import snapshots
from features.settings import Churn, ChurnLabel, Cohort
from features.sources.history import History
from training.fitting import fit
from training.models import dataset, hyperparameters
from training.targets import labels
from training.targets.cohorts import find_eligible
from training.targets.time_splits import list_cutoffs

START = datetime(2023, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def plain(slim):
    return slim.fit()["churn"]


def texts(fitted):
    return [head.text for head in fitted.model.horizon_models]


def importance(bundle):
    return pd.Series(bundle.horizon_models[0].booster.feature_importance("gain"), index=bundle.features)


def shuffled(frame, seed=1):
    return frame.sample(frac=1, random_state=seed)


def test_it_finds_the_planted_reasons(fitted):
    assert fitted["churn"].results.keys() == {30, 60}
    assert {o.evaluation.verdict for f in fitted.values() for o in f.results.values()} == {"signal"}
    assert importance(fitted["churn"].model).idxmax() == "plan"
    assert importance(fitted["upsell"].model).idxmax() == "seats"


def test_the_probabilities_are_about_as_high_as_what_came_true(fitted):
    for target in fitted.values():
        for outcome in target.results.values():
            assert outcome.test["score"].mean() == pytest.approx(outcome.evaluation.base_rate, rel=0.4)
            assert outcome.evaluation.brier < outcome.evaluation.base_rate * (1 - outcome.evaluation.base_rate)


def test_the_test_is_the_cohort_at_the_test_cutoffs_with_its_labels(company, fitted):
    settings = company.settings
    for name, horizon in (("churn", 30), ("churn", 60), ("upsell", 30)):
        outcome, target = fitted[name].results[horizon], settings.targets[name]
        with History.open(settings) as history:
            rows = find_eligible(history, target.cohort, outcome.plan.test)
            until = dataset.find_data_until(history, settings)
            rows["label"] = labels.compute_labels(history, target, horizon, rows, data_until=until)
        found = outcome.test[["account_id", "as_of", "label"]].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, rows)
        assert outcome.evaluation.rows == len(rows)
        assert outcome.evaluation.base_rate == rows["label"].mean()


def test_no_training_label_looks_into_the_test(fitted):
    for target in fitted.values():
        first_test = min(o.plan.test[0] for o in target.results.values())
        for outcome in target.results.values():
            assert outcome.plan.train[-1] + timedelta(days=outcome.plan.days) <= first_test


def test_a_short_horizon_does_not_learn_from_the_test_of_a_long_one(slim):
    settings = slim.settings
    until = datetime(2024, 4, 1, tzinfo=UTC)
    target = Churn(cohort=Cohort(kind="lifetime"), label=ChurnLabel(kind="lapse", grace_days=14), horizons=(30, 150))
    found = list_cutoffs(settings.training, all_began=datetime(2022, 1, 1, tzinfo=UTC), data_until=until)
    plans = fit.build_plans(settings, target, found, until)
    assert plans[30].days == 44
    # April 2022 to November 2023 are mature for 150 days: 20, of which the test is a quarter.
    assert len(plans[150].test) == 5
    assert plans[30].test[0] == plans[150].test[0]
    assert plans[30].train[-1] + timedelta(days=44) <= plans[150].test[0]


def test_the_mean_probability_in_the_latest_training_is_the_base_rate_there(slim, plain):
    settings = slim.settings
    with History.open(settings) as history:
        members = find_eligible(history, settings.churn.cohort, plain.results[30].plan.train)
        until = dataset.find_data_until(history, settings)
        known = labels.compute_labels(history, settings.churn, 30, members, data_until=until)
        latest = members["as_of"].isin(plain.results[30].plan.late)
        frame = snapshots.build(history, plain.results[30].plan.late).merge(members)
    assert plain.model.base_rates == {30: pytest.approx(known.mean())}
    assert plain.model.horizon_models[0].level is None
    assert plain.model.probabilities(plain.model.matrix(frame)).mean() == pytest.approx(known[latest].mean())


def test_the_same_data_in_any_order_and_the_same_seed_give_the_same_model(slim, plain, tmp_path):
    again = slim.vary(tmp_path, **{name: shuffled(table) for name, table in slim.tables.items()}).fit()["churn"]
    assert texts(again) == texts(plain)
    assert again.model.categories == plain.model.categories
    assert again.model.horizon_models[0].calibrator == plain.model.horizon_models[0].calibrator
    assert again.model.horizon_models[0].quantiles == plain.model.horizon_models[0].quantiles
    assert again.results[30].evaluation == plain.results[30].evaluation


@pytest.mark.usefixtures("unprobed")
def test_another_seed_gives_another_model(slim, plain, tmp_path):
    again = slim.vary(tmp_path, ("[training]", "[training]\nseed = 8")).fit()["churn"]
    assert texts(again) != texts(plain)


def test_snapshots_of_the_cutoffs_are_built_once(company, tmp_path, monkeypatch):
    settings = company.vary(tmp_path).settings
    with History.open(settings) as history:
        until = dataset.find_data_until(history, settings)
        every = dataset.list_cutoffs(history, settings, until)

        def frames():
            return {name: d.frame for name, d in dataset.load_datasets(history, settings, every, until)}

        first = frames()
        monkeypatch.setattr(snapshots, "build_table", lambda *_: pytest.fail("snapshots were built again"))
        again = frames()
    assert list(again) == ["churn", "upsell"]
    for name, frame in again.items():
        pd.testing.assert_frame_equal(frame, first[name], check_exact=True)


def test_a_constant_column_is_no_feature(fitted):
    for target in fitted.values():
        assert "country" not in target.model.features
        assert {"plan", "seats", "tenure_days"} <= set(target.model.features)
        seen = target.model.reference
        assert all(len(seen[f].unique()) > 1 for f in target.model.features)
        unread = set(seen) - set(target.model.features) - dataset._PEER_FEATURES - {"as_of"}
        assert all(len(seen[c].unique()) == 1 for c in unread)


@pytest.mark.usefixtures("unprobed")
def test_shares_of_use_are_learned_from_by_enough_accounts_alone(slim, tmp_path, monkeypatch):
    usage = slim.tables["usage"]
    usage = usage.assign(feature=np.where(np.arange(len(usage)) % 3, "reports", "api"))
    plain = 'columns = {{ account_id = "account_id", used_at = "used_at" }}'
    mapped = (plain, plain.replace(" }}", ', feature = "feature" }}'))
    named = ("[training]", '[catalog]\nshares_of_use = ["reports", "api"]\n\n[training]')
    shared = slim.vary(tmp_path / "shared", mapped, named, usage=usage)
    assert not [f for f in shared.fit()["churn"].model.features if f.startswith("share_of_")]
    monkeypatch.setattr(usage_mix, "FEWEST_ACCOUNTS", 100)
    assert "share_of_reports_30d" in shared.fit()["churn"].model.features


def test_the_reference_is_what_the_model_saw_and_names_no_account(fitted):
    for target in fitted.values():
        assert "account_id" not in target.model.reference
        assert set(target.model.reference["as_of"]) <= set(next(iter(target.results.values())).plan.train)
        assert set(target.model.features) <= set(target.model.reference)


def test_categories_are_the_texts_seen_the_commonest_first(fitted):
    assert fitted["churn"].model.categories.keys() == {"plan"}
    counts = fitted["churn"].model.reference["plan"].value_counts()
    assert counts[[*fitted["churn"].model.categories["plan"]]].is_monotonic_decreasing
    assert set(counts.index) == {"basic", "plus", "team"}


@pytest.mark.usefixtures("unprobed")
def test_the_score_never_falls_with_what_can_only_raise_the_risk(slim, tmp_path):
    random = np.random.default_rng(4)
    ids = slim.tables["accounts"]["account_id"]
    opened = [START + timedelta(days=float(d)) for d in random.uniform(0, 440, 1500)]
    tickets = pd.DataFrame({"account_id": random.choice(ids, 1500), "opened_at": opened, "priority": "urgent"})
    tickets["ticket_id"] = [f"T{i}" for i in range(1500)]
    columns = {c: c for c in ("ticket_id", "account_id", "opened_at", "priority")}
    told = ", ".join(f'{c} = "{c}"' for c in columns)
    mapped = f'[tables.tickets]\nsource = "tickets"\ncolumns = {{{{ {told} }}}}\n[churn]'
    source = ("[tables.accounts]\n", '[sources.tickets]\npath = "tickets.parquet"\n[tables.accounts]\n')
    found = slim.vary(tmp_path, source, ("[churn]", mapped), tickets=tickets).fit()["churn"]
    bundle = found.model
    constrained = found.hyperparameters.constrained(bundle.features)
    assert {"open_tickets", "urgent_tickets_30d"} <= set(constrained)
    rows = bundle.matrix(bundle.reference.sample(100, random_state=1))
    for name in constrained:
        scores = []
        for number in range(8):
            rows[:, bundle.features.index(name)] = number
            scores.append(bundle.probabilities(rows)[:, 0])
        assert (np.diff(scores, axis=0) >= 0).all(), name


@pytest.mark.parametrize(
    ("name", "changes", "monotone"),
    [
        ("churn", {}, True),
        ("churn", {"monotone": False}, False),
        ("upsell", {}, False),
    ],
)
def test_only_the_risk_of_leaving_has_a_direction_and_text_has_none(company, fitted, name, changes, monotone):
    settings = company.settings
    settings = settings.model_copy(update={"training": settings.training.model_copy(update=changes)})
    bundle = replace(
        fitted["churn"].model, features=("plan", "open_tickets", "seats"), categories={"plan": ("a",)}, target=name
    )
    found = hyperparameters.build_target_hyperparameters(settings, settings.targets[name], bundle)
    assert found.constrained(bundle.features) == (("open_tickets",) if monotone else ())
    assert ("monotone_constraints_method" in found.parameters) == monotone


def test_a_downgrade_has_no_direction(company, fitted):
    settings = company.settings
    label = settings.churn.label.model_copy(update={"kind": "downgrade"})
    bundle = replace(fitted["churn"].model, features=("open_tickets",))
    found = hyperparameters.build_target_hyperparameters(
        settings, settings.churn.model_copy(update={"label": label}), bundle
    )
    assert not [name for name in found.parameters if name.startswith("monotone")]


@pytest.mark.usefixtures("unprobed")
def test_labels_shuffled_among_the_accounts_have_no_signal(slim, tmp_path):
    lives = slim.tables["lifetimes"]
    ids = lives["account_id"].sample(frac=1, random_state=5).to_numpy()
    found = slim.vary(tmp_path, lifetimes=lives.assign(account_id=ids)).fit()["churn"].results[30].evaluation
    assert found.verdict == "no_signal"
    assert found.auc < 0.65


def test_trained_as_of_a_day_nothing_after_it_matters(slim, tmp_path):
    day = datetime(2024, 1, 10, tzinfo=UTC)
    then = slim.fit(as_of=day)["churn"]
    assert then.results[30].plan.test[-1] + timedelta(days=30) <= day
    tables = slim.tables
    lives = tables["lifetimes"]
    # Who left since then has stayed, and who has stayed has left.
    ends = lives["ended_at"].where(lives["ended_at"] < day)
    ends = ends.where(ends.notna() | lives["ended_at"].notna(), day + timedelta(days=20))
    changed = {
        "usage": tables["usage"][tables["usage"]["used_at"] < day],
        "purchases": tables["purchases"][tables["purchases"]["purchased_at"] < day],
        "lifetimes": lives.assign(ended_at=ends),
    }
    again = slim.vary(tmp_path, **changed).fit(as_of=day)["churn"]
    assert texts(again) == texts(then)
    assert again.results[30].evaluation == then.results[30].evaluation


def test_what_happens_after_the_last_mature_label_changes_no_model(slim, plain, tmp_path):
    # Data are complete until 1 April: labels of 30 days are mature from cutoffs until 2 March.
    late = datetime(2024, 3, 31, tzinfo=UTC)
    lives = slim.tables["lifetimes"]
    moved = lives.assign(ended_at=lives["ended_at"].mask(lives["ended_at"] >= late, late + timedelta(hours=1)))
    again = slim.vary(tmp_path, lifetimes=moved).fit()["churn"]
    assert (moved["ended_at"] != lives["ended_at"]).any()
    assert texts(again) == texts(plain)
    assert again.results[30].evaluation == plain.results[30].evaluation


def test_the_answer_table_is_closed_to_features(slim, plain, tmp_path):
    lives = slim.tables["lifetimes"]
    other = slim.vary(tmp_path, lifetimes=lives.assign(ended_at=lives["started_at"] + timedelta(days=1)))
    built = []
    for company in (slim, other):
        with History.open(company.settings) as history:
            assert history.sources == ("usage", "purchases")
            built.append(snapshots.build(history, plain.results[30].plan.test))
    pd.testing.assert_frame_equal(*built)
    assert set(plain.model.features) <= set(built[0])


@pytest.mark.usefixtures("unprobed")
def test_rows_whose_label_is_not_asked_are_neither_learned_from_nor_tested_on(slim, tmp_path):
    upsell = '[upsell]\ncohort = {{ kind = "lifetime" }}\nlabel = {{ kind = "spend_up" }}\nhorizons = [30]\n[churn]'
    company = slim.vary(tmp_path, ("[churn]", upsell))
    settings, fitted = company.settings, company.fit()["upsell"]
    outcome = fitted.results[30]
    with History.open(settings) as history:
        train, test = (
            find_eligible(history, settings.upsell.cohort, c) for c in (outcome.plan.train, outcome.plan.test)
        )
        until = dataset.find_data_until(history, settings)
        known = [labels.compute_labels(history, settings.upsell, 30, rows, data_until=until) for rows in (train, test)]
    assert all(k.isna().any() for k in known)
    assert fitted.model.base_rates[30] == pytest.approx(known[0].mean())
    assert outcome.evaluation.rows == known[1].notna().sum()
    assert outcome.test["label"].notna().all()


def test_nobody_leaving_is_too_little_to_train_on(slim, tmp_path):
    stays = slim.tables["lifetimes"].assign(ended_at=pd.Series(pd.NaT, index=range(300), dtype="datetime64[us, UTC]"))
    found = slim.vary(tmp_path, lifetimes=stays).fit()["churn"]
    assert found.results == {}
    assert found.model.horizon_models == ()
    assert all("the labels of churn_30d are of one class only" in reason for reason in found.insufficient[30].reasons)
    assert "0 positives among " in found.insufficient[30].reasons[0]


def test_nobody_leaving_in_the_test_is_too_little_to_judge_by(slim, tmp_path):
    lives = slim.tables["lifetimes"]
    stays = lives.assign(ended_at=lives["ended_at"].where(lives["ended_at"] < datetime(2024, 1, 1, tzinfo=UTC)))
    [reason] = slim.vary(tmp_path, lifetimes=stays).fit()["churn"].insufficient[30].reasons
    assert "one class only in the cutoffs of the test, 2024-01-01 to " in reason
    assert "0 positives among " in reason


def test_too_short_a_history_is_an_error_with_the_numbers(slim, tmp_path):
    with pytest.raises(LabelError, match="too short for labels that look 300 days ahead") as raised:
        slim.vary(tmp_path, ("horizons = [30]", "horizons = [300]")).fit()
    assert "12 cutoffs, 2 with mature labels by 2024-04-01" in raised.value.found


def test_no_cutoff_before_the_data_end_is_an_error(slim):
    with pytest.raises(LabelError, match="there is no cutoff before 2023-02-01"):
        slim.fit(as_of=datetime(2023, 2, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("started", "where"), [("2030-01-01", "at every cutoff"), ("2024-01-15", "at every cutoff of the training")]
)
def test_an_empty_cohort_is_an_error_that_names_it(slim, tmp_path, started, where):
    instant, lives = pd.Timestamp(started, tz="UTC"), slim.tables["lifetimes"]
    lives = lives[~(pd.to_datetime(lives["ended_at"], utc=True) < instant)].assign(started_at=instant)
    with pytest.raises(LabelError, match=f"the cohort of churn is empty {where}\\. "):
        slim.vary(tmp_path, lifetimes=lives).fit()


@pytest.mark.usefixtures("unprobed")
def test_it_tells_the_plan_before_it_trains(slim, tmp_path):
    nobody = slim.vary(tmp_path, lifetimes=slim.tables["lifetimes"].assign(ended_at=pd.NaT)).settings
    told = []
    with History.open(nobody) as history:
        fit.fit(history, nobody, progress=told.append)
    assert told[0] == "snapshots at 12 cutoffs"
    assert told[1] == "churn: reading the snapshots of its cohort"
    assert told[2].startswith("churn, 30 days: train 2023-05-01 to ")


def test_a_column_that_is_missing_only_at_first_varies():
    frame = pd.DataFrame(
        {"a": [np.nan, 1.0], "b": [np.nan, np.nan], "c": [2.0, 2.0], "d": [None, "x"], "e": ["x", "x"]}
    )
    assert dataset.select_features(frame.items()) == (("a", "d"), {"d": ("x",)})


@pytest.mark.usefixtures("unprobed")
def test_the_champion_is_judged_beside_the_new_model_on_the_same_rows(slim, plain):
    found = slim.fit(champions={"churn": plain.model})["churn"].results[30]
    assert found.evaluation.baselines["champion"].auc == pytest.approx(found.evaluation.auc)
    assert np.array_equal(found.baselines["champion"], found.test["score"])
    assert found.evaluation.verdict == plain.results[30].evaluation.verdict


@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize(
    "unfit",
    [
        {"learned_until": datetime(2024, 1, 2, tzinfo=UTC)},  # it knows answers of the test
        {"learned_until": None},
        {"horizon_models": ()},
        {"features": ("no_longer_there",)},
    ],
)
def test_a_champion_that_cannot_be_compared_is_left_out(slim, plain, unfit):
    found = slim.fit(champions={"churn": replace(plain.model, **unfit)})["churn"].results[30]
    assert "champion" not in found.evaluation.baselines
    without = plain.results[30].evaluation
    assert replace(found.evaluation, reasons=without.reasons) == without
    assert {*found.evaluation.reasons} <= {*without.reasons}


def test_the_model_says_until_when_it_learned(plain):
    outcome = plain.results[30]
    assert plain.model.learned_until == outcome.plan.train[-1] + timedelta(days=30) <= outcome.plan.test[0]


def test_values_of_few_accounts_count_as_unseen():
    accounts = np.repeat([f"A{i:03d}" for i in range(100)], 2)
    region = np.where(np.arange(200) < 120, "north", np.where(np.arange(200) < 190, "south", "isle"))
    columns = {"account_id": accounts, "region": region, "city": [f"city {i % 20}" for i in range(200)]}
    features, categories = dataset.select_features((name, pd.Series(values)) for name, values in columns.items())
    assert features == ("region", "city")
    assert categories["region"] == ("north", "south")
    assert len(categories["city"]) == 20  # none has many accounts: they stay as they are
