"""The catalog: every feature says what it is, in which unit, and how it is told to an account's owner."""

import json
import math

import pytest

from features import catalog
from features.catalog import BUILT_IN, FEATURES, Catalog, account
from features.core.contract import EVENTS, RECORDS, TABLES
from features.core.language import PSEUDO, Language
from features.definitions.feature import Feature, feature, ratio
from features.definitions.sql_expression import declare_table
from features.definitions.streams import USAGE
from tests.support.pseudo_text import find_raw_words, remove_accents, to_english

EACH = pytest.mark.parametrize("one", FEATURES.values(), ids=list(FEATURES))
VALUES = [0.0, -0.0, 1e-9, 0.25, 1.0, 3.0, 12.34, 365.0, 1e9, -1e-9, -0.25, -1.0]


def test_there_are_at_least_120_features_over_all_four_sources():
    assert len(FEATURES) >= 120
    for table in EVENTS:
        assert sum(table in f.sources for f in FEATURES.values()) >= 10


def test_no_two_features_share_a_name():
    assert len(FEATURES) == sum(len(file.FEATURES) for file in catalog.FILES)


def test_every_feature_that_a_file_defines_is_in_the_catalog():
    for file in catalog.FILES:
        defined = [f for found in vars(file).values() if isinstance(found, tuple) for f in found]
        names = {f.name for f in defined if isinstance(f, Feature)}
        assert names == {f.name for f in file.FEATURES}, file.__name__


@EACH
def test_a_feature_is_described_in_full(one):
    assert FEATURES[one.name] is one
    assert one.name.isidentifier()
    assert one.name == one.name.lower()
    assert one.sentence[0].isupper()
    assert one.sentence.endswith(".")
    assert "{" not in one.sentence
    assert all((one.unit, one.family, one.missing))
    assert one.direction in {-1, 0, 1}
    assert one.play is None or one.play.isidentifier()
    assert one.actionable == (one.play is not None)


@EACH
def test_a_features_window_stands_in_its_name_and_its_sentence(one):
    if one.window is not None:
        assert one.name.endswith(f"_{one.window}d")
        assert f"{one.window}" in one.sentence
        windows = [ask for ask in one.windowed_measures.values() if ask.days is not None]
        assert one.window in {ask.days for ask in windows} | {ask.before + ask.days for ask in windows}


@EACH
def test_first_and_last_are_instants_and_what_may_cease_to_count_has_no_window(one):
    for ask in one.windowed_measures.values():
        rows = ask.measure.stream.rows(declare_table(ask.measure.stream.table))
        if "until" in rows.columns:
            assert (ask.days, ask.before) == (None, 0)
        elif ask.measure.how in {"min", "max"}:
            assert ask.measure.column == "t"
            assert ask.measure.where is None


@EACH
def test_a_feature_has_words_for_any_value(one):
    for value in VALUES:
        said = one.describe(value)
        assert said.strip() == said != ""
        assert "\n" not in said
        assert not any(c in said for c in "{}")
    assert one.describe(math.nan) == f"{one.sentence.rstrip('.')}: {one.missing}"


@EACH
def test_a_feature_can_be_said_in_another_language_whole(one):
    pseudo = Language(PSEUDO)
    for value in (*VALUES, math.nan):
        for typical in (None, 8.24, 1e6):
            said = one.describe(value, typical, pseudo)
            assert find_raw_words(said) == [], said
            assert to_english(said).replace(".:", ":") == one.describe(value, typical)


def test_the_parts_of_a_sentence_are_marked_on_their_own():
    pseudo, read = Language(PSEUDO), remove_accents
    assert read(FEATURES["usage_trend_30d"].describe(-0.5, None, pseudo)) == (
        "⟦⟦usage⟧ fell 67 % against ⟦the 30 days before⟧⟧"
    )
    assert read(FEATURES["usage_slope_84d"].describe(-0.1, None, pseudo)) == (
        "⟦⟦usage⟧ fell by 10% of its average each ⟦week⟧, ⟦for 12 weeks⟧⟧"
    )
    assert read(FEATURES["usage_per_active_day_30d"].describe(math.nan, 8.24, pseudo)) == (
        "⟦⟦⟦Usage events for each active day of the last 30.⟧: ⟦no usage in the window⟧⟧ (typical: 8.2)⟧"
    )
    plan = BUILT_IN.find_feature("service_plan")
    assert read(plan.describe("{pro}", None, pseudo)) == "⟦service plan: {pro}⟧"
    assert read(plan.describe(math.nan, None, pseudo)) == (
        "⟦⟦The account's service plan, as its record says.⟧: ⟦not recorded⟧⟧"
    )


def test_a_companys_own_words_stay_as_its_file_says_them():
    @feature(unit="u", family="f", says=lambda value, _: f"own {value:.0f}", missing="no {value}")
    def own(at):
        """Something."""
        return at(USAGE.count())

    assert own[0].describe(2.0, None, Language(PSEUDO)) == "own 2"
    assert own[0].describe(math.nan) == "Something: no {value}"


def test_features_are_plain_objects_for_machines():
    for one in FEATURES.values():
        plain = json.loads(json.dumps(one.as_dict(), allow_nan=False))
        assert (plain["name"], plain["sentence"], plain["window"]) == (one.name, one.sentence, one.window)
        assert plain["sources"] == list(one.sources)


def test_no_feature_looks_at_a_table_that_holds_answers():
    assert not any(TABLES[source].answer for one in FEATURES.values() for source in one.sources)


def test_no_two_measures_share_a_column():
    measures = {}
    for one in FEATURES.values():
        for ask in one.windowed_measures.values():
            m = ask.measure
            other = measures.setdefault(ask.column, m)
            assert (m.stream, m.how, m.column, m.where) == (other.stream, other.how, other.column, other.where)


def test_every_measures_column_is_one_of_its_streams():
    for one in FEATURES.values():
        for ask in one.windowed_measures.values():
            rows = ask.measure.stream.rows(declare_table(ask.measure.stream.table))
            assert ask.measure.column in {*rows.columns, "day"}
            assert {"account_id", "t", "known"} <= set(rows.columns)


@pytest.mark.parametrize("missing", [*EVENTS, *RECORDS])
def test_the_features_of_a_missing_source_are_absent_and_no_others(missing):
    there = {*EVENTS, *RECORDS} - {missing}
    names = {f.name for f in (*BUILT_IN.select_account_features(there), *BUILT_IN.select_peer_features(there))}
    assert names == {name for name, f in FEATURES.items() if missing not in f.sources}
    assert "tenure_days" in names


def test_without_sources_only_the_account_itself_is_known():
    assert [f.name for f in BUILT_IN.select_account_features(())] == ["tenure_days", "days_to_anniversary"]


def test_a_feature_over_two_sources_needs_both():
    assert FEATURES["silence_30d"].sources == ("tickets", "usage")
    assert FEATURES["seats_used_30d"].sources == ("purchases", "usage")
    assert FEATURES["urgent_without_touch_30d"].sources == ("tickets", "touches")


def test_the_words_of_a_change_say_how_much_and_against_what():
    says = FEATURES["usage_trend_30d"].describe
    assert says(-0.5) == "usage fell 67 % against the 30 days before"
    assert says(-1.0) == "usage fell 100 % against the 30 days before"
    assert says(0.2) == "usage rose 50 % against the 30 days before"
    assert says(0.0) == "usage stayed level against the 30 days before"
    assert says(1.0) == "usage began: none in the 30 days before"


def test_the_words_of_a_season_say_against_when():
    assert (
        FEATURES["spend_against_last_year_30d"].describe(-0.5)
        == "spend fell 67 % against the same 30 days a year before"
    )
    ahead = "last year, in the 90 days that now lie ahead, spend"
    assert FEATURES["season_rise_90d"].describe(0.2) == f"{ahead} rose 50 % against the 90 days before"
    assert FEATURES["season_ahead_90d"].describe(1.0) == f"{ahead} began: none in the last 90 days"


def test_the_words_of_a_term_that_ends_now_speak_of_no_minus():
    assert FEATURES["days_to_renewal"].describe(-0.0) == "the term ends in 0 days"


def test_words_have_a_singular_and_name_what_is_typical_where_the_number_differs():
    waiting = FEATURES["unanswered_tickets"]
    assert waiting.describe(1.0) == "1 ticket waits for a first answer"
    assert waiting.describe(2.0, 0.0) == "2 tickets wait for a first answer (typical: 0)"
    assert waiting.describe(2.0, 2.3) == waiting.describe(2.0, math.nan) == "2 tickets wait for a first answer"
    assert "(typical: 8.2)" in FEATURES["usage_per_active_day_30d"].describe(math.nan, 8.24)


def test_a_comparison_with_the_past_and_the_end_of_a_term_need_no_typical_number():
    assert FEATURES["usage_trend_30d"].describe(-0.5, 0.0) == "usage fell 67 % against the 30 days before"
    assert FEATURES["days_to_renewal"].describe(25.0, 140.0) == "the term ends in 25 days"


def test_the_words_of_a_slope_name_its_period():
    words = FEATURES["spend_slope_360d"].describe(-0.378)
    assert words == "spend fell by 38% of its average each month, for 12 months"
    assert FEATURES["usage_slope_84d"].describe(0.0) == "usage stayed level for 12 weeks"


def test_an_attribute_of_accounts_is_context_that_nobody_can_act_on():
    plan = BUILT_IN.find_feature("service_plan")
    assert plan.name == "service_plan"
    assert (plan.actionable, plan.sources, plan.direction) == (False, (), 0)
    assert plan.describe("pro") == "service plan: pro"
    assert (plan.describe(1_234_567.0), plan.describe(0.1 + 0.2)) == ("service plan: 1,234,567", "service plan: 0.3")
    assert BUILT_IN.find_feature("usage_events_30d") is FEATURES["usage_events_30d"]
    unknown = account.create_attribute_feature("seats").describe(math.nan)
    assert unknown.endswith(": not recorded")


def test_a_new_feature_takes_its_name_window_and_sentence_from_one_definition():
    @feature(windows=(30, 60), unit="u", family="f", says="{value} in {w}")
    def newest(at, w):
        """Something in the last {w} days."""
        return ratio(at(USAGE.sum("count"), w), at(USAGE.count(), w))

    assert [f.name for f in newest] == ["newest_30d", "newest_60d"]
    assert newest[1].sentence == "Something in the last 60 days."
    assert newest[1].describe(2.0) == "2.0 in 60"
    assert {ask.days for ask in newest[1].windowed_measures.values()} == {60}


def test_a_filtered_measure_must_be_given_a_name():
    with pytest.raises(ValueError, match=r"the filtered count of usage\.t needs a name"):
        _ = USAGE.count(lambda u: u.errors > 0).name


def test_the_version_is_that_of_all_definitions(monkeypatch):
    assert BUILT_IN.version == Catalog(FEATURES).version
    assert len(BUILT_IN.version) == 12
    read = []
    monkeypatch.setattr(catalog, "fingerprint_packages", lambda *packages: read.extend(packages) or "another")
    assert Catalog(FEATURES).version != BUILT_IN.version
    assert read == ["features.catalog", "features.definitions"]
