"""Contradictions between a target's cohort or label and the tables that tell it are named before anything runs."""

import pytest

from features.core.errors import SettingsError
from features.settings import Churn


def refused(company):
    with pytest.raises(SettingsError) as raised:
        company.settings()
    return str(raised.value)


def churn(company, cohort, label):
    company.toml["churn"] = {"cohort": cohort, "label": label}


@pytest.mark.parametrize(("cohort", "label"), [("using", "no_purchase"), ("active", "no_usage")])
def test_a_target_told_by_usage_needs_it(company, cohort, label):
    churn(company, {"kind": cohort}, {"kind": label})
    assert "churn needs the table usage, but there is no [tables.usage]" in refused(company)


def test_a_company_with_usage_alone_can_ask_for_usage_churn(company):
    del company.toml["tables"]["purchases"]
    company.table("usage", "account_id,used_at", "A,2024-01-05")
    churn(company, {"kind": "using", "within_days": 30}, {"kind": "no_usage"})
    assert company.settings().churn.label.kind == "no_usage"


@pytest.mark.parametrize(
    ("label", "columns"),
    [
        ({"kind": "expansion"}, "kind"),
        ({"kind": "new_product"}, "product"),
        ({"kind": "spend_up", "products": ["berth"]}, "product"),
        ({"kind": "recurring_up"}, "term_ends_at and term_starts_at"),
    ],
)
def test_an_upsell_needs_the_columns_that_tell_it(company, label, columns):
    company.toml["upsell"] = {"cohort": {"kind": "active"}, "label": label}
    assert f"upsell can't be computed: purchases maps no {columns}" in refused(company)


@pytest.mark.parametrize(
    ("cohort", "label", "said"),
    [
        ({"kind": "active"}, {"kind": "no_purchase", "grace_days": 9}, "churn.label.grace_days has no effect for kind"),
        (
            {"kind": "active"},
            {"kind": "no_purchase", "ratio": 0.9},
            "churn.label.ratio has no effect for kind no_purchase: it belongs to downgrade.",
        ),
        ({"kind": "in_force", "within_days": 9}, {"kind": "lapse"}, "churn.cohort.within_days has no effect for kind"),
    ],
)
def test_a_key_that_the_kind_does_not_read_is_refused(company, cohort, label, said):
    churn(company, cohort, label)
    assert said in refused(company)


def test_a_lead_and_a_value_are_days_that_make_sense(company):
    company.toml["churn"] |= {"lead_days": -1, "value_days": 0}
    said = refused(company)
    assert "churn.lead_days: Input should be greater than or equal to 0" in said
    assert "churn.value_days: Input should be greater than or equal to 1" in said


def test_there_is_no_lead_and_a_years_value_unless_told_otherwise(company):
    target = company.settings().churn
    assert isinstance(target, Churn)
    assert (target.lead_days, target.value_days) == (0, 365)


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        (
            "purchases",
            "kind",
            {"column": "k", "map": {"R": "return"}},
            "kind.map.R: 'return' is not one of new, renewal",
        ),
        ("purchases", "kind", {"value": "sale"}, "kind.value: 'sale' is not one of new"),
        ("purchases", "paid", {"column": "k", "map": {"x": "maybe"}}, "paid.map.x: 'maybe' is not a yes or no"),
        ("purchases", "quantity", {"column": "k", "map": {"x": "one"}}, "quantity.map.x: 'one' is not a number"),
        ("accounts", "seats", {"column": "k", "map": {"x": "1.5"}}, "seats.map.x: '1.5' is not a whole number"),
        ("accounts", "rank", {"column": "k", "kind": "decimal", "map": {"x": "top"}}, "rank.map.x: 'top' is not a"),
        ("accounts", "Region", "k", "accounts.columns.Region differs from region in the case of its letters alone"),
    ],
)
def test_a_value_that_the_contract_can_not_hold_is_refused_before_anything_runs(company, table, column, value, said):
    company.toml["tables"][table]["columns"][column] = value
    assert f"tables.{table}.columns.{said.removeprefix('accounts.columns.')}" in refused(company)


def test_a_map_may_make_nothing_of_a_value_and_leave_the_rest(company):
    value = {"column": "k", "map": {"R": "refund", "-": ""}}
    company.toml["tables"]["purchases"]["columns"]["kind"] = value
    assert company.settings().tables["purchases"].columns["kind"].map == value["map"]


@pytest.mark.parametrize("name", ["spend_365d", "as_of", "account_no", "Spend_365d", "usage", "rank_spend_365d"])
def test_an_attribute_named_like_a_feature_or_a_column_of_snapshots_is_refused(company, name):
    company.toml["tables"]["accounts"]["columns"][name] = {"column": "created_at", "kind": "time"}
    with pytest.raises(SettingsError) as error:
        company.open()
    assert f"tables.accounts.columns.{name}" in str(error.value)
    assert f"crm_{name}" in str(error.value)
    company.toml["tables"]["accounts"]["columns"][f"crm_{name}"] = company.toml["tables"]["accounts"]["columns"].pop(
        name
    )
    company.open().close()
