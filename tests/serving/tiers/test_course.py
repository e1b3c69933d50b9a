import re

import numpy as np
import pandas as pd
import pytest

from features.settings.tiers import SIDES, TIER_NAMES, Tiers
from serving.tiers.course import Override, assign_tiers, explain_tier
from training.decisions.tier_cuts import Cuts

IDS = [f"a{i:02d}" for i in range(100)]
SETTINGS = Tiers()


def sides(**changed):
    """Measure accounts of which the first is the worst; a changed one has this revenue."""
    revenue = pd.Series(np.arange(100.0), index=IDS)
    for account, value in changed.items():
        revenue[account] = value
    return pd.DataFrame({"revenue": revenue.to_numpy()})


CUTS = Cuts.freeze("2026-Q1", sides(), SETTINGS)


def follow(*revenues, overrides=None, settings=SETTINGS):
    """Return account a50's row after runs in which it had these revenues."""
    before = None
    for revenue in revenues:
        run = assign_tiers(
            IDS, sides(a50=revenue), cuts=CUTS, settings=settings, before=before, overrides=overrides or {}
        )
        before = run.table.set_index("account_id")
    return before.loc["a50"]


def test_an_account_moves_after_two_runs_beyond_the_margin():
    assert [follow(*[50] + [90] * n)["tier"] for n in range(4)] == ["C", "C", "A", "A"]
    assert [follow(*[50] + [5] * n)["tier"] for n in range(3)] == ["C", "C", "E"]


def test_one_good_run_and_one_within_the_margin_move_nothing():
    assert follow(50, 90, 50, 90)["tier"] == "C"
    assert follow(50, 61, 61, 61)["tier"] == "C"  # beyond the cut at .60, but by less than .02
    assert follow(50, 90, 5, 90)["tier"] == "C"  # not in the same direction


def test_other_accounts_move_nobody_within_a_quarter():
    everyone = sides() * 10  # all others grew tenfold
    everyone.loc[50, "revenue"] = 50.0
    run = assign_tiers(IDS, everyone, cuts=CUTS, settings=SETTINGS)
    assert run.table["tier"].iloc[50] == "C"
    assert Cuts.freeze("2026-Q2", everyone, SETTINGS).find_tier(pd.Series([0.0])).iloc[0] == "E"


def test_an_override_counts_and_the_course_goes_on_beneath_it():
    override = {"a50": Override("a50", "A", "their name opens doors", "ann", None)}
    row = follow(50, 50, overrides=override)
    assert row["tier"] == "A"
    said = explain_tier(row.to_dict(), CUTS, SETTINGS, override["a50"])
    assert "set to A by ann: their name opens doors" in said
    assert "By the cuts it is C" in said


def test_the_sentence_leads_to_the_tier():
    weighted = Tiers(weights={"revenue": 3.0, "profit": 1.0})
    measured = pd.DataFrame({"revenue": np.arange(100.0), "profit": np.arange(100.0)[::-1]})
    cuts = Cuts.freeze("2026-Q1", measured, weighted)
    table = assign_tiers(IDS, measured, cuts=cuts, settings=weighted).table
    for row in table.iloc[[3, 40, 77]].to_dict("records"):
        said = explain_tier(row, cuts, weighted)
        worth = float(re.search(r"worth ([\d.]+)", said)[1])
        revenue, profit = (float(re.search(rf"{side} ([\d.]+)", said)[1]) for side in ("revenue", "profit"))
        assert worth == pytest.approx((3 * revenue + profit) / 4, abs=0.011)
        bounds = [float(x) for x in re.search(r"is from ([\d.]+)(?: to ([\d.]+))?", said).groups() if x]
        assert bounds[0] - 0.011 <= worth <= (bounds[1] if len(bounds) > 1 else 1) + 0.011
        assert said.startswith(f"Tier {row['tier']}: ")
    assert "(counts 3)" in said


def test_a_tier_kept_says_when_it_moves():
    said = explain_tier(follow(50, 90).to_dict(), CUTS, SETTINGS)
    assert said.startswith("Tier C still, A by its worth 0.91")
    assert "after 2 runs in a row more than 0.02 beyond the cut, so far 1." in said


def test_an_account_unknown_before_and_one_no_longer_known():
    run = assign_tiers(IDS, sides(a50=np.nan), cuts=CUTS, settings=SETTINGS).table.set_index("account_id")
    assert run.loc["a50", "tier"] is None
    again = assign_tiers(IDS, sides(), cuts=CUTS, settings=SETTINGS, before=run).table.set_index("account_id")
    assert again.loc["a50", "tier"] == "C"
    assert explain_tier(run.loc["a50"].to_dict(), CUTS, SETTINGS) == "No tier: nothing is known of it."


def test_cuts_survive_their_storage():
    assert Cuts.from_dict(CUTS.as_dict()) == CUTS
    assert set(CUTS.scales) <= set(SIDES)
    assert [CUTS.get_bounds(tier)[0] for tier in TIER_NAMES] == sorted((*CUTS.cuts, 0.0), reverse=True)
