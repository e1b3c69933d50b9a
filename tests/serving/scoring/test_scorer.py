from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.catalog import BUILT_IN
from features.core.errors import GarrisonError
from features.definitions.plays import PLAYS
from features.engine import snapshots
from features.sources.history import History
from serving.scoring.drivers import ScoreDriver, _build_driver, _sum_groups, find_drivers
from serving.scoring.harmful_side import find_plausible_sides
from serving.scoring.scorer import PreparedSnapshots, Scorer, load_champions


@pytest.fixture(scope="module")
def scorer(harbour: Any) -> Scorer:
    return load_champions(harbour.settings)


@pytest.fixture(scope="module")
def frame(harbour: Any, now: datetime) -> pd.DataFrame:
    with History.open(harbour.settings) as history:
        return snapshots.build(history, [now - timedelta(days=d) for d in range(0, 280, 20)])


@pytest.fixture(scope="module")
def rows(scorer: Scorer, frame: pd.DataFrame) -> PreparedSnapshots:
    return scorer.prepare(frame, ("tickets", "usage", "purchases"))


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[t], other[t]) for t in one)


def test_a_row_scores_the_same_bits_alone_as_among_others(scorer: Scorer, rows: PreparedSnapshots) -> None:
    whole = scorer.score(rows)
    assert len(rows) > 800
    thousands = PreparedSnapshots(
        **{**vars(rows), "matrices": {t: np.tile(m, (3, 1)) for t, m in rows.matrices.items()}}
    )
    big = scorer.score(thousands)  # large enough for LightGBM's threads
    for target, scores in whole.items():
        assert np.array_equal(big[target], np.tile(scores, (3, 1)))
    for i in range(0, len(rows), 3):
        assert same(scorer.score(rows.take([i])), {t: s[[i]] for t, s in whole.items()}), i


def test_the_order_of_a_snapshots_columns_means_nothing(
    scorer: Scorer, frame: pd.DataFrame, rows: PreparedSnapshots
) -> None:
    turned = scorer.prepare(frame[list(frame.columns)[::-1]], rows.sources)
    assert same(scorer.score(turned), scorer.score(rows))


def test_scores_are_probabilities_that_never_fall_with_the_horizon(scorer: Scorer, rows: PreparedSnapshots) -> None:
    churn = scorer.score(rows)["churn"]
    assert churn.shape == (len(rows), 2)
    assert ((churn > 0) & (churn < 1)).all()
    assert (churn[:, 0] <= churn[:, 1]).all()


def test_features_of_a_missing_source_count_as_missing_values(scorer: Scorer, frame: pd.DataFrame) -> None:
    without = frame.drop(columns=[c for c in frame if c.startswith(("ticket", "open_", "urgent", "resolution"))])
    gone = sorted(set(frame) - set(without))
    assert gone
    rows = scorer.prepare(without, ("usage", "purchases"))
    at = [scorer.models["churn"].features.index(c) for c in gone]
    assert np.isnan(rows.matrices["churn"][:, at]).all()
    assert scorer.find_missing_sources("churn", rows.sources) == ("tickets",)


def test_a_column_that_no_missing_source_explains_is_an_error(scorer: Scorer, frame: pd.DataFrame) -> None:
    with pytest.raises(GarrisonError, match="seats"):
        scorer.prepare(frame.drop(columns="seats"), ("usage", "purchases"))


def test_the_value_is_the_recurring_revenue_or_else_the_spend_by_the_year(scorer: Scorer, frame: pd.DataFrame) -> None:
    changed = frame.head(4).assign(
        recurring_revenue_year=[10.0, np.nan, np.nan, np.nan],
        spend_365d=[1.0, 2.0, 2.0, np.nan],
        days_since_first_purchase=[700.0, 700.0, 182.5, np.nan],
    )
    value = scorer.prepare(changed, ("usage", "tickets", "purchases")).value
    assert value.tolist()[:3] == [10.0, 2.0, 4.0]  # the third has been buying for half a year
    assert np.isnan(value[3])


def explained(scorer: Scorer, rows: PreparedSnapshots) -> Iterator[tuple[bool, tuple[ScoreDriver, ...]]]:
    bundle, scores = scorer.models["churn"], scorer.score(rows)["churn"]
    above = scores[:, 1] > bundle.base_rates[90]
    yield from zip(above, find_drivers(bundle, rows, scores, 90), strict=True)


def cause(driver: ScoreDriver) -> str:
    return PLAYS[driver.play].cause if driver.play else "context"


def test_drivers_are_few_of_different_causes_and_on_the_scores_side(scorer: Scorer, rows: PreparedSnapshots) -> None:
    sides, contexts = set(), 0
    for above, drivers in explained(scorer, rows.take(slice(0, 200))):
        sides.add(bool(above))
        causes = [d for d in drivers if cause(d) not in {"context", "renewal"}]
        contexts += len(drivers) - len(causes)
        assert 1 <= len(drivers) <= 4
        assert len(causes) <= 3
        assert list(drivers[: len(causes)]) == causes
        assert len({cause(d) for d in causes}) == len(causes)
        assert all((d.contribution > 0) == above for d in drivers)
        strengths = [abs(d.contribution) for d in causes]
        assert strengths == sorted(strengths, reverse=True)
        assert all(d.text and d.actionable == (d.play is not None) for d in drivers)
    assert sides == {True, False}
    assert contexts


def test_a_drivers_contribution_is_that_of_its_whole_cause(scorer: Scorer, rows: PreparedSnapshots) -> None:
    bundle, few = scorer.models["churn"], rows.take(slice(0, 50))
    contributions = bundle.contributions(few.matrices["churn"], 90)
    features = [few.catalog.find_feature(f) for f in bundle.features]
    causes = np.array([PLAYS[f.play].cause if f.play else "context" for f in features])
    sides, middles = find_plausible_sides(features, [bundle.typical.get(f.name) for f in features])
    is_wrong = sides * (few.matrices["churn"] - middles) <= 0
    of_many = skipped = 0
    for parts, wrong, (above, drivers) in zip(contributions, is_wrong, explained(scorer, few), strict=True):
        for d in (d for d in drivers if cause(d) in {"usage", "service", "contact", "price"}):
            own = parts[causes == cause(d)]
            of_many += len(own) > 1
            assert d.contribution == pytest.approx(own.sum())
            # The words are those of the feature that did most for the score's side, and does not contradict it.
            plausible = parts[(causes == cause(d)) & ~(wrong & above)]
            skipped += above and own.max() > plausible.max()
            assert parts[bundle.features.index(d.feature)] == (plausible.max() if above else own.min())
    assert of_many
    assert skipped


def test_a_model_whose_level_moves_has_a_day_behind_its_features_and_the_same_drivers(
    scorer: Scorer, rows: PreparedSnapshots
) -> None:
    bundle, few = scorer.models["churn"], rows.take(slice(0, 50))
    matrix = few.matrices["churn"]
    dated = replace(few, matrices={**few.matrices, "churn": np.column_stack([matrix, np.full(len(few), 19_000.0)])})
    scores = scorer.score(few)["churn"]
    assert find_drivers(bundle, dated, scores, 90) == find_drivers(bundle, few, scores, 90)


def test_features_of_one_cause_that_cancel_out_are_no_reason() -> None:
    folded = _sum_groups(np.array([[2.0, -2.0, 0.5], [1.0, 1.0, 0.5]]), [np.array([0, 1]), np.array([2])])
    assert folded.tolist() == [[0.0, 0.5], [2.0, 0.5]]


def test_invoices_are_no_reason_while_a_term_is_in_force(scorer: Scorer, rows: PreparedSnapshots) -> None:
    few = rows.take(slice(0, 200))

    def of_purchases(recurring: float) -> int:
        about = {**few.about, "recurring_revenue_year": np.full(len(few), recurring)}
        found = explained(scorer, PreparedSnapshots(**{**vars(few), "about": about}))
        return sum(cause(d) == "purchases" for _, drivers in found for d in drivers)

    assert of_purchases(np.nan) > 0
    assert of_purchases(1_200.0) == 0


def test_a_rows_drivers_are_the_same_bits_alone_as_among_others(scorer: Scorer, rows: PreparedSnapshots) -> None:
    some = rows.take(slice(0, 10))
    together = [drivers for _, drivers in explained(scorer, some)]
    assert together == [d for i in range(10) for _, d in explained(scorer, some.take([i]))]


def test_every_built_in_driver_is_in_words_with_a_number() -> None:
    for feature in BUILT_IN.features.values():
        for value in (-0.4, 0.0, 0.37, 1.0, 12.5):
            assert any(c.isdigit() for c in feature.describe(value)), feature.name


def test_a_driver_speaks_of_the_value_in_the_snapshot(
    scorer: Scorer, frame: pd.DataFrame, rows: PreparedSnapshots
) -> None:
    found = [d for _, drivers in explained(scorer, rows.take([0, 1, 2])) for d in drivers if d.feature == "seats"]
    seats = frame["seats"].head(3).astype(int).astype(str).tolist()
    assert found
    assert all(any(number in d.text for number in seats) for d in found)


def test_a_driver_keeps_what_its_words_were_made_of(scorer: Scorer, rows: PreparedSnapshots) -> None:
    found = [d for _, drivers in explained(scorer, rows) for d in drivers]
    bundle = scorer.models["churn"]
    for d in found:
        kept = json.loads(json.dumps(d.as_dict(), allow_nan=False))
        value = math.nan if kept["value"] is None else kept["value"]
        assert rows.catalog.find_feature(d.feature).describe(value, kept["typical"]) == d.text
        assert kept["typical"] == bundle.typical.get(d.feature)
    # Nothing is known as nothing: neither a 0 nor a text.
    assert {type(d.value) for d in found} >= {float, type(None)}
    assert all((d.value is None) == d.text.startswith(missing_words(rows, d)) for d in found)


def missing_words(rows: PreparedSnapshots, driver: ScoreDriver) -> str:
    return rows.catalog.find_feature(driver.feature).describe(math.nan)


def test_a_text_attribute_is_told_as_text(scorer: Scorer, frame: pd.DataFrame) -> None:
    rows = scorer.prepare(frame.head(2).assign(region=["north", None]), ("usage", "tickets", "purchases"))
    assert rows.texts["region"].tolist() == ["north", None]
    bundle = scorer.models["churn"]
    region = bundle.features.index("region")
    north, unknown = (_build_driver(bundle, rows, i, region, 1.0).text for i in (0, 1))
    assert north == "region: north"
    assert "nan" not in unknown
    assert "None" not in unknown
