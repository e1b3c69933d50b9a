import numpy as np
import pandas as pd
import pytest

from serving.gate.binning import bin_column, find_noise_level


def psi(binned):
    shares = [side.astype(str).value_counts(normalize=True) for side in (binned.reference, binned.current)]
    labels = shares[0].index.union(shares[1].index)
    p, q = (s.reindex(labels, fill_value=0).replace(0, 1e-4) for s in shares)
    return float(((p - q) * np.log(p / q)).sum())


def shares(column):
    return column.astype(str).value_counts(normalize=True).to_dict()


DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.lognormal(1, 2, size=n),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.7, 0, rng.gamma(1, 30, size=n)),
    "rare count": lambda rng, n: rng.poisson(0.1, size=n).astype(float),
    "often missing": lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
    "few categories": lambda rng, n: rng.choice(list("abcdef"), p=[0.5, 0.2, 0.15, 0.1, 0.04, 0.01], size=n),
    "many categories": lambda rng, n: rng.integers(0, 300, size=n).astype(str),
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("rows", "reference_rows"), [(30, 30), (50, 2000), (100, 100), (200, 2000)])
def test_noise_is_rarely_exceeded_without_drift(draw, rows, reference_rows):
    rng, alarms, trials = np.random.default_rng(3), 0, 40
    for _ in range(trials):
        binned = bin_column(*(pd.Series(DRAWS[draw](rng, n)) for n in (reference_rows, rows)))
        alarms += binned.count > 1 and psi(binned) > find_noise_level(rows, reference_rows, binned.count, chance=0.001)
    assert alarms <= 1


def test_noise_is_what_the_index_is_on_average_without_drift():
    rng = np.random.default_rng(0)
    found = [psi(bin_column(pd.Series(rng.normal(size=400)), pd.Series(rng.normal(size=400)))) for _ in range(120)]
    assert np.mean(found) == pytest.approx(9 * (2 / 400), rel=0.15)


@pytest.mark.parametrize(("rows", "bins"), [(20, 2), (50, 2), (100, 5), (200, 10), (5000, 10)])
def test_small_samples_get_fewer_bins(rows, bins):
    rng = np.random.default_rng(1)
    assert bin_column(pd.Series(rng.normal(size=9000)), pd.Series(rng.normal(size=rows))).count == bins


def test_one_bin_alone_can_show_nothing():
    assert find_noise_level(100, 100, 1, chance=0.01) == 0


def test_a_constant_that_changes_moves_into_another_bin():
    binned = bin_column(pd.Series([1.0] * 500), pd.Series([0.9] * 500))
    assert set(binned.reference).isdisjoint(set(binned.current))


def test_a_value_that_half_of_the_rows_share_has_a_bin_to_itself():
    reference = pd.Series([0.0] * 500 + [float(i) for i in range(1, 501)])
    assert shares(bin_column(reference, reference).reference)["01 0"] == 0.5


def test_missing_values_are_a_bin():
    reference = pd.Series(np.arange(1000.0))
    binned = bin_column(reference, reference.where(reference >= 500))
    assert shares(binned.current)["11 missing"] == pytest.approx(0.5)


def test_categories_new_since_training_are_joined_with_the_rare_ones():
    reference = pd.Series(["a"] * 600 + ["b"] * 397 + ["c"] * 3)
    current = pd.Series(["a"] * 500 + ["new"] * 500)
    binned = bin_column(reference, current)
    assert shares(binned.reference) == {"01 a": 0.6, "02 b": 0.397, "03 rare or new": 0.003}
    assert shares(binned.current) == {"01 a": 0.5, "03 rare or new": 0.5}


def test_labels_keep_the_order_of_the_values():
    values = pd.Series(np.arange(1000.0))
    by_label = values.groupby(bin_column(values, values).reference.astype(str)).mean()
    assert by_label.is_monotonic_increasing
