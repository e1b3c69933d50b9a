"""Promotion checks: each stops what it is there for, tells its figures, and stops nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.core.errors import RegistryError
from training.diagnostics.sample_size import InsufficientData
from training.evaluation.compare import FigureDifference, ModelComparison, SegmentDifference
from training.evaluation.top_overlap import TopOverlap
from training.registry import promotion_checks
from training.registry.promotion_checks import ChampionComparison
from training.registry.promotion_log import Promotion

CUTOFFS = (datetime(2024, 2, 1, tzinfo=UTC),)


@pytest.fixture(scope="module")
def candidate(sound, tmp_path_factory):
    """(folder, bundle) of the churn model as the registry keeps it."""
    folder = tmp_path_factory.mktemp("candidate")
    churn = sound["churn"]
    churn.model.save(folder)
    promotion_checks.write_evidence(churn.model, churn.list_figures(), folder)
    return folder, type(churn.model).load(folder, version="churn-2")


@pytest.fixture
def own(candidate, tmp_path):
    """The same, in a folder that the test may spoil."""
    for file in candidate[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path, candidate[1]


def held(  # noqa: PLR0913, PLR0917  # each figure by itself
    auc=(0.01, -0.01, 0.03), brier=(-0.001, -0.002, 0.001), ece=(0.01, 0.01), segments=(), top=None, auc_within=None
):
    """Against churn-1; each figure as (difference, low, high)."""
    figures = {"auc": auc, "ap": (0.0, -0.1, 0.1), "brier": brier, "profit": (0.0, -1.0, 1.0)}
    figures |= {"auc_within": auc_within} if auc_within else {}
    told = tuple(FigureDifference(name, 0.8, 0.8 + d, low, high) for name, (d, low, high) in figures.items())
    return ChampionComparison(
        "churn-1",
        {"churn_30d": ModelComparison(500, 0.1, CUTOFFS, told, ece, (0.015, 0.015), segments, top)},
        reason="",
    )


def segment(difference, low, high):
    return SegmentDifference("plan", "basic", 100, 30, FigureDifference("auc", 0.8, 0.8 + difference, low, high))


def judged(candidate, against):
    return {c.name: c for c in promotion_checks.check_candidate(*candidate, against)}


def refused(candidate, against):
    return {
        c.name: c.explanation
        for c in promotion_checks.list_failed(promotion_checks.check_candidate(*candidate, against))
    }


def spoil(folder, **changes):
    file = folder / "evaluation.json"
    figures = json.loads(file.read_text())
    figures["churn_60d"] |= changes
    file.write_text(json.dumps(figures))


def test_without_a_champion_a_sound_model_passes_every_check(candidate):
    found = judged(candidate, ChampionComparison())
    assert list(found) == ["verdict", "champion", "calibration", "segments", "stability", "parity"]
    assert all(c.passed for c in found.values())
    assert found["champion"].explanation == "there is no champion yet"
    assert "churn_60d" in found["verdict"].explanation


def test_a_better_model_passes_with_its_lead_told(candidate):
    found = judged(candidate, held())
    assert all(c.passed for c in found.values())
    for words in ("mean AUC +0.0100 against churn-1", "500 rows of churn_30d", "(-0.0100 to +0.0300)"):
        assert words in found["champion"].explanation


@pytest.mark.parametrize(("shared", "words"), [(14, "14 of 20 at the top and 60% of"), (9, "owners will see another")])
def test_a_new_top_list_is_reported_and_refuses_nothing(candidate, shared, words):
    check = judged(candidate, held(top=TopOverlap(500, 20, shared, 50, 30)))["stability"]
    assert check.passed
    assert words in check.explanation
    assert ("less than half" in check.explanation) == (shared < 10)


@pytest.mark.parametrize("verdict", ["no_signal", "insufficient", "leak_suspected"])
def test_every_horizon_must_have_a_signal_and_a_leak_is_final(own, verdict):
    spoil(own[0], verdict=verdict, reasons=["because of this"])
    check = judged(own, ChampionComparison())["verdict"]
    assert not check.passed
    assert check.explanation == f"churn_60d is {verdict} (because of this)"
    assert check.final == (verdict == "leak_suspected")


def test_a_horizon_that_could_not_be_trained_has_no_signal(sound, own):
    churn = replace(sound["churn"], insufficient={90: InsufficientData(10, 0, ("of one class",))})
    promotion_checks.write_evidence(churn.model, churn.list_figures(), own[0])
    assert refused(own, ChampionComparison()) == {"verdict": "churn_90d is insufficient (of one class)"}


@pytest.mark.parametrize(
    ("against", "told"),
    [
        (held(auc=(-0.01, -0.03, 0.01)), "mean AUC -0.0100"),  # no gain
        (held(auc=(0.0, 0.0, 0.0)), "mean AUC +0.0000"),  # a tie keeps the champion
        # A better level is no better rank.
        (held(auc=(0.02, 0.01, 0.03), auc_within=(-0.01, -0.02, 0.01)), "mean AUC within a cutoff -0.0100"),
        (held(auc=(-0.02, -0.03, -0.01)), "churn_30d auc 0.8000 to 0.7800 (-0.0300 to -0.0100)"),
        (held(brier=(0.02, 0.01, 0.03)), "churn_30d brier 0.8000 to 0.8200 (+0.0100 to +0.0300)"),
    ],
)
def test_a_model_that_does_not_beat_the_champion_is_refused_with_the_figures(candidate, against, told):
    found = refused(candidate, against)
    assert found.keys() == {"champion"}
    assert told in found["champion"]


@pytest.mark.parametrize(
    ("ece", "passes"), [((0.01, 0.015), True), ((0.01, 0.021), False), ((0.04, 0.03), True), ((0.02, 0.03), False)]
)
def test_calibration_is_good_or_no_worse_than_the_champions(candidate, ece, passes):
    check = judged(candidate, held(ece=ece))["calibration"]
    assert check.passed == passes
    assert f"churn_30d {ece[1]:.3f}, noise up to 0.015, churn-1 {ece[0]:.3f}" in check.explanation


def test_calibration_within_its_noise_is_good_without_a_champion(own):
    spoil(own[0], ece=0.05, ece_noise=0.06)
    assert judged(own, ChampionComparison())["calibration"].passed
    spoil(own[0], ece=0.05, ece_noise=0.04)
    assert refused(own, ChampionComparison()) == {
        "calibration": "calibration error of churn_60d 0.050, noise up to 0.040"
    }


@pytest.mark.parametrize(
    ("difference", "passes"),
    [((-0.06, -0.1, -0.01), False), ((-0.04, -0.07, -0.01), True), ((-0.06, -0.15, 0.02), True)],
)
def test_a_segment_must_not_be_much_worse_beyond_chance(candidate, difference, passes):
    check = judged(candidate, held(segments=(segment(*difference),)))["segments"]
    assert check.passed == passes
    assert passes or check.explanation == "churn_30d, plan basic (100 rows): AUC 0.800 to 0.740 (-0.100 to -0.010)"


def test_a_model_that_scores_otherwise_than_when_it_was_judged_is_refused(own):
    folder, bundle = own
    kept = pd.read_parquet(folder / "parity.parquet")
    kept.iloc[3, 0] = np.nextafter(kept.iloc[3, 0], 1)
    kept.to_parquet(folder / "parity.parquet", index=False)
    found = refused((folder, bundle), ChampionComparison())
    assert found == {"parity": "1 of 200 rows in batch and 20 alone differ from its evaluation"}


def test_without_what_it_was_judged_by_a_model_is_refused(own):
    (own[0] / "parity.parquet").unlink()
    assert refused(own, ChampionComparison()).keys() == {"parity"}
    (own[0] / "evaluation.json").unlink()
    assert "train again" in refused(own, ChampionComparison())["verdict"]


@pytest.fixture
def present(company, fitted, tmp_path):
    """Makes (settings, the promotion in force) of a champion that is the fitted model with changes."""

    def make(**changes):
        settings = company.settings
        settings = settings.model_copy(update={"paths": settings.paths.model_copy(update={"mlruns": tmp_path})})
        replace(fitted["churn"].model, **changes).save(tmp_path / "champion")
        return settings, Promotion("2024-04-01T00:00:00+00:00", "promote", "churn", "churn-1", "run", "champion", "")

    return make


def test_the_same_model_is_held_against_itself_on_later_rows_and_ties(candidate, present):
    settings, promotion = present()
    found = promotion_checks.run_checks(settings, {"churn": candidate[0]}, {"churn": promotion})["churn"]
    against = {c.name: c for c in found}
    assert not against["champion"].passed
    assert "mean AUC within a cutoff +0.0000 against churn-1" in against["champion"].explanation
    assert all(c.passed for c in found if c.name != "champion")


def test_a_champion_that_can_not_score_the_data_of_today_stops_nothing(candidate, fitted, present):
    features = ("of_a_source_that_vanished", *fitted["churn"].model.features[1:])
    settings, promotion = present(features=features)
    against = promotion_checks.compare_with_champions(settings, {"churn": candidate[1]}, {"churn": promotion})["churn"]
    assert against.passed
    assert "the champion churn-1 can't score the data as they are now" in against.reason
    assert "of_a_source_that_vanished" in against.reason


def test_a_champion_that_has_learned_from_every_later_row_stops_the_candidate(candidate, present):
    settings, promotion = present(learned_until=datetime(2024, 3, 25, tzinfo=UTC))
    against = promotion_checks.compare_with_champions(settings, {"churn": candidate[1]}, {"churn": promotion})["churn"]
    assert not against.passed
    assert "churn-1" in refused(candidate, against)["champion"]


@pytest.mark.parametrize("changes", [{"horizon_models": ()}, {"learned_until": None}])
def test_a_champion_that_can_not_be_compared_is_told(candidate, present, changes):
    settings, promotion = present(**changes)
    check = judged(
        candidate,
        promotion_checks.compare_with_champions(settings, {"churn": candidate[1]}, {"churn": promotion})["churn"],
    )
    assert check["champion"].passed
    assert "churn-1" in check["champion"].explanation


def test_a_candidate_that_is_not_whole_is_an_error(company, tmp_path):
    with pytest.raises(RegistryError, match="is not a whole model"):
        promotion_checks.run_checks(company.settings, {"churn": tmp_path}, {})
