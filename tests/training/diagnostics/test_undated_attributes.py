"""Undated numbers are not learned from unless they are trusted; a count as of the export is found by early cutoffs."""

import numpy as np
import pandas as pd
import pytest

from features.sources.history import History
from training.diagnostics import undated_attributes

COUNTED = 'seats = "seats"\norders = {{ column = "orders", kind = "whole" }}'


@pytest.fixture(scope="module")
def counted(company, tmp_path_factory):
    """The company whose export says how many orders each account has placed by now."""
    orders = company.tables["accounts"]["account_id"].map(company.tables["purchases"].groupby("account_id").size())
    accounts = company.tables["accounts"].assign(orders=orders.fillna(0).astype(int))
    slim = company.toml.replace("horizons = [30, 60]", "horizons = [30]").split("[upsell]")[0]
    changes = ('seats = "seats"', COUNTED)
    folder = tmp_path_factory.mktemp("counted")
    return type(company)(folder, company.tables, slim).vary(folder, changes, accounts=accounts)


def test_fit_leaves_an_undated_count_out_and_says_so(counted):
    churn = counted.fit()["churn"]
    assert {"orders", "seats"} & {*churn.model.features} == {"seats"}
    line = next(reason for reason in churn.results[30].evaluation.reasons if "not learned from" in reason)
    assert "orders is an undated number" in line
    assert "valid_from" in line
    assert "training.trusted" in line
    assert "seats" not in line


def test_undated_numbers_are_used_where_they_are_dated_or_trusted(counted, tmp_path):
    def unused(*changes):
        settings = counted.vary(tmp_path, *changes).settings
        with History.open(settings) as history:
            return undated_attributes.list_unused(history, settings)

    assert unused() == ("orders",)
    assert unused(('trusted = ["seats"]', "trusted = []")) == ("seats", "orders")
    assert unused(('trusted = ["seats"]', 'trusted = ["accounts"]')) == ()
    assert unused(('seats = "seats"', 'seats = "seats"\nvalid_from = "created_at"')) == ()


def test_own_features_of_undated_numbers_are_left_out_too(counted, tmp_path):
    own = '''
from features.definition import feature

@feature(unit="orders", family="own", says="{value:.0f} orders")
def orders_doubled(at):
    """Twice the orders."""
    return at.account("orders") * 2

@feature(unit="days", family="own", says="{value:.0f} days")
def tenure_doubled(at):
    """Twice the days."""
    return (at.as_of - at.account("created_at")) * 2

FEATURES = (*orders_doubled, *tenure_doubled)
'''
    (tmp_path / "own.py").write_text(own)
    settings = counted.vary(tmp_path, ("[sources]", '[catalog]\nfeatures = "own.py"\n\n[sources]')).settings
    with History.open(settings) as history:
        assert undated_attributes.list_unused(history, settings) == ("orders", "orders_doubled")


@pytest.mark.parametrize("kind", ["fact", "count", "noise"])
def test_what_gains_only_among_rows_of_one_time_is_suspected(kind):
    random = np.random.default_rng(4)
    accounts = np.repeat(np.arange(900), 2)
    is_late = np.tile([False, True], 900)
    rate = np.repeat(random.lognormal(0, 0.7, 900), 2)
    past = random.poisson(8 * rate)
    after = random.poisson(1.2 * rate)
    labels = (after == 0).astype("float64")
    fact = np.repeat(random.normal(size=900), 2)
    if kind == "fact":
        labels = (random.random(1800) < 1 / (1 + np.exp(-2 * fact))).astype("float64")
    # At the export a count holds all that came after the cutoff, of early cutoffs much more.
    values = {
        "fact": fact,
        "count": past + after + np.where(is_late, 0, random.poisson(60 * rate)),
        "noise": random.normal(size=1800),
    }[kind]
    frame = pd.DataFrame({"account_id": accounts.astype(str)})
    found = undated_attributes.find_unstable(
        frame, np.column_stack([past, values]), labels, columns={"value": 1}, is_late=is_late
    )
    assert [name for name, _ in found] == (["value"] if kind == "count" else [])
