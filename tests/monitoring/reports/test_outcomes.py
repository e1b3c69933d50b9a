"""Shares of outcomes: with Wilson's interval, and not told of few."""

import pytest
from statsmodels.stats.proportion import proportion_confint

from monitoring.reports.outcomes import LEAST, Share


@pytest.mark.parametrize(("number", "total"), [(0, 20), (7, 40), (40, 40)])
def test_a_share_has_wilsons_interval(number, total):
    share = Share.of(number, total)
    assert (share.low, share.high) == pytest.approx(proportion_confint(number, total, method="wilson"), abs=1e-9)
    assert share.share == number / total


def test_few_outcomes_tell_nothing():
    assert str(Share.of(LEAST - 1, LEAST - 1)) == "can't be told"
    assert str(Share.of(5, LEAST)) == "25% (11% to 47%)"
