"""Does the past say more about the future than the true probability does? It must not, in a forward simulation."""

import lightgbm
import numpy as np
import pytest

from features.core.timestamps import DAY
from features.samples.purchases import KINDS

WINDOWS = (7, 14, 30, 90, 1000)
SPAN = 10**6


@pytest.fixture(scope="module")
def tidewater(company):
    return company(1800, 18, seed=3)


@pytest.fixture(scope="module")
def rows(tidewater):
    return tidewater.truth().query("churned_90d.notna()").reset_index(drop=True)


def counts(events, rows, since, until):
    """Events of each row's account on days [since, until), by two searches in one sorted key."""
    keys = np.sort(events["account"].astype(np.int64) * SPAN + events["at"] // DAY)
    account = rows["account"].to_numpy() * SPAN
    return np.searchsorted(keys, account + until) - np.searchsorted(keys, account + since)


@pytest.fixture(scope="module")
def past(tidewater, rows):
    """Counts, densities and tenure, all from before as_of."""
    as_of = rows["as_of"].to_numpy()
    tenure = as_of - tidewater.people.start[rows["account"]]
    columns = [tenure, rows["days_to_term_end"]]
    for events in (tidewater.history.usage, tidewater.history.tickets, tidewater.history.purchases):
        for window in WINDOWS:
            found = counts(events, rows, np.maximum(as_of - window, 0), as_of)
            columns += [found, found / np.minimum(window, tenure)]
    return np.column_stack(columns)


def gain(rows, features, *, outcome, p):
    """Log-loss saved, per account of a held-out half, by adding features to the true probability; with its bounds.

    The bounds are the 2.5th and 97.5th percentile of a bootstrap over accounts.
    """
    open_rows = (rows[p] > 0).to_numpy()
    y = rows[outcome].to_numpy(bool)[open_rows].astype(float)
    true, account = rows[p].to_numpy()[open_rows], rows["account"].to_numpy()[open_rows]
    features, base = features[open_rows], np.log(true / (1 - true))
    fits = account % 2 == 0
    data = lightgbm.Dataset(np.column_stack([base, features])[fits], y[fits], init_score=base[fits])
    options = {"objective": "binary", "learning_rate": 0.08, "num_leaves": 7, "min_child_samples": 200}
    fixed = {"lambda_l2": 20, "verbose": -1, "num_threads": 1, "seed": 1, "deterministic": True, "force_col_wise": True}
    booster = lightgbm.train(options | fixed, data, 40)
    test = ~fits
    moved = base[test] + booster.predict(np.column_stack([base, features])[test], raw_score=True)
    saved = np.logaddexp(0, base[test]) - np.logaddexp(0, moved) + y[test] * (moved - base[test])
    each = np.bincount(account[test], saved)[1::2]
    rng = np.random.default_rng(0)
    means = [rng.choice(each, len(each)).mean() for _ in range(300)]
    return np.percentile(means, [2.5, 97.5])


TARGETS = pytest.mark.parametrize(("outcome", "p"), [("churned_90d", "p_churn_90d"), ("expanded_90d", "p_upsell_90d")])


@TARGETS
def test_the_past_adds_nothing_to_the_true_probability(rows, past, outcome, p):
    low, _ = gain(rows, past, outcome=outcome, p=p)
    assert low < 0


@TARGETS
def test_a_feature_that_knows_the_future_is_caught(tidewater, rows, past, outcome, p):
    purchases = tidewater.history.purchases
    expansions = {name: values[purchases["kind"] == KINDS.index("expansion")] for name, values in purchases.items()}
    events = tidewater.history.usage if p == "p_churn_90d" else expansions
    lifetime = counts(events, rows, np.zeros(len(rows), int), np.full(len(rows), SPAN - 1))
    low, _ = gain(rows, np.column_stack([past, lifetime]), outcome=outcome, p=p)
    assert low > 0


def test_events_drawn_for_a_life_already_known_are_caught(tidewater, rows):
    """The artefact of some generators: a lifetime's number of events first, then spread over the known life."""
    people, lapse = tidewater.people, tidewater.history.outcomes.lapse
    rng = np.random.default_rng(5)
    first = np.maximum(people.start, tidewater.span.first)
    life = np.where(lapse < 0, tidewater.until + 200, lapse) - first
    account = np.repeat(np.arange(len(life)), 60)
    day = first[account] + (rng.random(len(account)) * life[account]).astype(int)
    spread = {"account": account, "at": day * DAY}
    as_of = rows["as_of"].to_numpy()
    density = counts(spread, rows, 0 * as_of, as_of) / (as_of - first[rows["account"]])
    low, _ = gain(rows, density[:, None], outcome="churned_90d", p="p_churn_90d")
    assert low > 0
