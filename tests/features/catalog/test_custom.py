"""A company's own features: read from its file, part of its catalog and snapshots, refused with file and name."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.catalog import BUILT_IN, FEATURES, Catalog
from features.core.errors import FeatureError
from features.definitions.feature import Feature
from features.engine import snapshots
from features.engine.dispatch import build
from features.settings import Engine
from tests.support.small_catalog import shrink_catalog

PAGE = Path(__file__).parents[3] / "docs" / "features.md"
FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)

HEAD = """
from features.definition import DAY, Stream, feature, ratio
from features.streams import OPENED, PURCHASES
"""
LARGE = f"""{HEAD}
LARGE = PURCHASES.count(lambda p: p.amount > 15, name="large_orders_of_ours")


@feature(windows=(30, 90), unit="orders", family="large orders", says="{{value:.0f}} large orders in {{w}} days")
def large_orders(at, w):
    \"\"\"Orders above 15 in the last {{w}} days.\"\"\"
    return at(LARGE, w)


FEATURES = (*large_orders,)
"""


def own(company, text=LARGE, name="own_features.py"):
    (company.folder / name).write_text(text, encoding="utf-8")
    company.toml["catalog"] = {"features": name}
    return Catalog.for_company(company.settings())


def refused(company, text):
    with pytest.raises(FeatureError) as error:
        own(company, text)
    assert "own_features.py" in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def one(formula, name="ours", head=""):
    """A file of one feature."""
    return f"""{HEAD}
{head}
@feature(unit="u", family="f", says="{{value}}")
def {name}(at):
    "A feature."
    return {formula}

FEATURES = (*{name},)
"""


def test_without_a_file_the_catalog_is_the_built_in_one(company):
    assert Catalog.for_company(company.settings()) is BUILT_IN
    assert BUILT_IN.custom_features == ()


def test_own_features_stand_beside_the_built_in_ones_which_stay_as_they_are(company):
    catalog = own(company)
    assert [f.name for f in catalog.custom_features] == ["large_orders_30d", "large_orders_90d"]
    assert list(catalog.features) == [*FEATURES, "large_orders_30d", "large_orders_90d"]
    assert catalog.find_feature("large_orders_30d").describe(3.0) == "3 large orders in 30 days"
    assert catalog.find_feature("large_orders_30d").sources == ("purchases",)
    assert "large_orders_30d" not in FEATURES
    assert BUILT_IN.find_feature("large_orders_30d").unit == "as recorded"


def test_own_features_become_columns_of_snapshots(company):
    own(company)
    with company.open() as history:
        frame = snapshots.build(history, [FEBRUARY])
        history.catalog = shrink_catalog(history.catalog)
        sql = build(Engine(kind="duckdb"), history, [FEBRUARY])
    assert frame["account_id"].tolist() == ["A", "B"]
    assert frame["large_orders_30d"].tolist() == [0, 1]
    assert sql["large_orders_30d"].tolist() == [0, 1]


def test_the_version_is_that_of_the_files_text_and_a_changed_file_is_read_again(company):
    first = own(company)
    assert own(company) is first
    changed = own(company, LARGE.replace("> 15", "> 5"))
    assert len({first.version, changed.version, BUILT_IN.version}) == 3
    with company.open() as history:
        assert history.catalog is changed
        assert snapshots.build(history, [FEBRUARY])["large_orders_30d"].tolist() == [1, 1]


def test_several_files_make_one_catalog(company):
    (company.folder / "more.py").write_text(one("at(OPENED.count(), 7)"), encoding="utf-8")
    own(company)
    company.toml["catalog"] = {"features": ["own_features.py", "more.py"]}
    catalog = Catalog.for_company(company.settings())
    assert [f.name for f in catalog.custom_features] == ["large_orders_30d", "large_orders_90d", "ours"]
    assert "ours" not in {f.name for f in catalog.select_account_features(["purchases"])}


def test_a_feature_may_read_a_mapped_attribute_of_accounts(company):
    company.table("accounts", "account_id,created_at,seats", "A,2023-01-01,4", "B,2023-01-01,8")
    catalog = own(company, one("at.account('seats') * 2.0"))
    with company.open() as history:
        assert history.catalog is catalog
        assert snapshots.build(history, [FEBRUARY])["ours"].tolist() == [8, 16]
    company.table("accounts", "account_id,created_at", "A,2023-01-01", "B,2023-01-01")
    with pytest.raises(FeatureError, match=r"own_features\.py: the feature ours can't be used: .*seats"):
        Catalog.for_company(company.settings())


def test_a_missing_file_is_named(company):
    company.toml["catalog"] = {"features": "gone.py"}
    with pytest.raises(FeatureError, match=r"gone\.py can't be read.*catalog\.features"):
        Catalog.for_company(company.settings())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "defines no FEATURES"),
        ("FEATURES = ((1,),)\n", r"FEATURES holds something that is no feature.*\*first"),
        ("\nimport nowhere_at_all\n", r"failed at line 2.*ModuleNotFoundError.*nowhere_at_all"),
        ("\n\ndef (:\n", "failed at line 3.*SyntaxError"),
        ("raise SystemExit(3)\n", "failed at line 1.*SystemExit"),
        (one("at(OPENED.count(), 7)", name="tenure_days"), "feature tenure_days can't.*has a feature of this name"),
        (one("at(OPENED.count(), 7)") + "FEATURES *= 2\n", "feature ours can't.*has a feature of this name"),
        (one("at(OPENED.count(), 7)", name="account_id"), "snapshots have a column of this name"),
        (one("at(OPENED.count(), 7).ln()"), "feature ours can't.*the operation Ln.*Make it of these"),
        (
            "from dataclasses import replace\n"
            + one("at(OPENED.count(), 7)")
            + "FEATURES = (replace(ours[0], scope='peers', base='ours'),)\n",
            "feature ours can't.*uses other accounts' rows",
        ),
        (one("1 / 0"), "feature ours can't.*ZeroDivisionError"),
        (one("at(OPENED.count(lambda t: t.csat > 1), 7)"), "feature ours can't.*needs a name"),
        (one("at(OPENED.sum('rating'), 7)"), "rows of the stream tickets_opened have no rating"),
        (one("at(OPENED.sum('topic'), 7)"), "topic is string: a sum is of whole numbers"),
        (one("at(OPENED.count(lambda t: t.csat > 4, name='urgent_tickets'), 7)"), "another measure is called urgent"),
        (
            one(
                "at(M, 7)",
                head="M = Stream('usage', 'usage', lambda u: u.mutate(t=u.used_at, known=0)).distinct('errors')",
            ),
            "another stream is called usage",
        ),
        (
            one("at(M, 7)", head="M = Stream('ends', 'lifetimes', lambda t: t.mutate(t=t.ended_at)).count()"),
            "the stream ends reads lifetimes: a feature can read tickets, usage",
        ),
        (
            one("at(M, 7)", head="M = Stream('mine', 'usage', lambda u: u.mutate(t=u.used_at)).count()"),
            "the rows of the stream mine have no known",
        ),
    ],
)
def test_what_can_not_be_a_feature_is_refused_in_one_line_with_file_and_name(company, text, said):
    assert re.search(said, refused(company, text))


def test_a_feature_of_a_mapped_attributes_name_is_refused(company):
    company.table("accounts", "account_id,created_at,rank", "A,2023-01-01,x", "B,2023-01-01,y")
    assert "column of this name" in refused(company, one("at(OPENED.count(), 7)", name="rank"))


def test_the_example_of_the_docs_is_a_whole_file_that_works(company):
    section = PAGE.read_text(encoding="utf-8").split("## Your own features\n")[1].split("\n## ")[0]
    (text,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    company.table("tickets", "ticket_id,account_id,opened_at,channel", "1,A,2024-01-06,phone", "2,A,2024-01-08,e-mail")
    # A Saturday and a Monday.
    company.table("usage", "account_id,used_at,count", "A,2024-01-06T12:00:00Z,3", "A,2024-01-08T12:00:00Z,1")
    catalog = own(company, text)
    assert all(isinstance(f, Feature) and f.sentence for f in catalog.custom_features)
    with company.open() as history:
        frame = snapshots.build(history, [FEBRUARY]).set_index("account_id")
    assert frame.loc["A", "phone_share_90d"] == 0.5
    assert frame.loc["A", "weekend_share_30d"] == 0.75
    assert frame.loc["B", ["phone_share_90d", "weekend_share_30d"]].isna().all()


def test_an_unknown_play_is_refused_with_the_nearest_one(company):
    text = one("at(OPENED.count())").replace('family="f"', 'family="f", play="anser_tickets"')
    message = refused(company, text)
    assert "the feature ours can't be used: there is no play 'anser_tickets'. Did you mean answer_tickets" in message


def test_a_known_play_makes_a_feature_actionable(company):
    text = one("at(OPENED.count())").replace('family="f"', 'family="f", play="answer_tickets"')
    assert own(company, text).find_feature("ours").actionable
