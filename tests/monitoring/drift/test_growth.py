import numpy as np
import pandas as pd

from features.catalog import BUILT_IN
from monitoring.drift.growth import find_growing_columns

AGES = np.random.default_rng(0).uniform(0, 900, 2000)
ROWS = pd.DataFrame(
    {
        "tenure_days": AGES,
        "orders_in_all": AGES // 30,
        "days_since_purchase": AGES[::-1] % 30,
        "orders_365d": AGES // 30,
        "seats": AGES,
        "days_between_orders": 30.0,
    }
)


def test_what_looks_at_all_the_past_and_rises_with_age_is_found():
    assert set(find_growing_columns(ROWS, ROWS, BUILT_IN)) == {"tenure_days", "orders_in_all"}


def test_only_columns_that_the_model_reads_are_named():
    assert find_growing_columns(ROWS, ["orders_in_all", "gone"], BUILT_IN) == ("orders_in_all",)


def test_without_ages_or_rows_nothing_is_known_to_grow():
    assert find_growing_columns(ROWS.drop(columns="tenure_days"), ROWS, BUILT_IN) == ()
    assert find_growing_columns(ROWS[:0], ROWS, BUILT_IN) == ()
