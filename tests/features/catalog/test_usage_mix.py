"""Shares of use by product feature: columns of the product features that the TOML names."""

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from features.__main__ import app
from features.catalog import BUILT_IN, Catalog
from features.catalog.usage_mix import create_features
from features.core.errors import SettingsError
from features.core.language import PSEUDO, Language
from features.engine import snapshots
from features.engine.dispatch import build
from features.settings import Engine
from tests.support.small_catalog import shrink_catalog

FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)


def use(company, *named):
    rows = ["A,2024-01-05,Reports", "A,2024-01-20,Reports", "A,2024-01-25,API", "A,2024-02-01,API", "B,2023-01-01,API"]
    company.table("usage", "account_id,used_at,feature", *rows)
    company.toml["catalog"] = {"shares_of_use": list(named)}


def test_shares_are_of_all_rows_in_the_window_and_missing_without_any(company):
    use(company, "Reports", "API")
    with company.open() as history:
        frame = snapshots.build(history, [FEBRUARY]).set_index("account_id")
        # In SQL every other feature is compiled too: seconds for a whole catalog, which test_sql_engines.py compiles.
        history.catalog = shrink_catalog(history.catalog)
        sql = build(Engine(kind="duckdb"), history, [FEBRUARY]).set_index("account_id")
    shares = ["share_of_reports_14d", "share_of_reports_30d", "share_of_api_14d", "share_of_api_30d"]
    assert frame.loc["A", shares].tolist() == [1 / 2, 2 / 3, 1 / 2, 1 / 3]
    assert frame.loc["B", shares].isna().all()
    assert sql[shares].equals(frame[shares])


def test_they_are_part_of_the_catalogs_version_and_no_file_of_the_companys_own(company):
    use(company, "Reports")
    catalog = Catalog.for_company(company.settings())
    assert catalog.list_shares_of_use() == ("share_of_reports_14d", "share_of_reports_30d")
    assert catalog.custom_features == ()
    assert catalog.version != BUILT_IN.version


def test_names_that_look_alike_are_columns_apart():
    names = list(create_features(("Data Export", "data-export", "导出", "报表")))
    assert len(set(names)) == len(names) == 8
    assert all(name.isidentifier() and name.isascii() for name in names)


def test_it_says_the_companys_word_as_it_is_and_the_rest_in_the_readers_language():
    one = create_features(("{w} reports",))["share_of_w_reports_30d"]
    assert one.describe(0.314) == "31% of the use in 30 days was of {w} reports"
    assert one.describe(0.314, 0.17) == "31% of the use in 30 days was of {w} reports (typical: 17%)"
    assert "{w} reports" in one.describe(0.314, None, Language(PSEUDO))
    assert not one.actionable


@pytest.mark.parametrize("named", [["a", "a"], [""], [f"f{n}" for n in range(13)]])
def test_a_list_that_cannot_be_is_refused(company, named):
    use(company, *named)
    with pytest.raises(SettingsError, match="shares_of_use"):
        company.settings()


def test_check_says_which_product_feature_no_row_has(company):
    use(company, "Reports", "Rapports")
    said = CliRunner().invoke(app, ["check", "--config", str(company.write())], env={"COLUMNS": "400"})
    assert "no row is of 'Rapports', which catalog.shares_of_use names; the commonest are 'API', 'Reports'" in (
        said.output
    )
