"""Formulas of one account in plain Python: the bits that arrays give."""

from functools import cache

import ibis
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features import catalog
from features.arrays.formulas import KERNELS, Program
from features.definitions.feature import FeatureContext
from features.definitions.sql_expression import group_by_stream
from features.rows import formulas
from features.rows.formulas import compile_formulas
from tests.support.property_tests import examples


@cache
def both_programs():
    """The catalog's formulas, and every operation, compiled for arrays and for one account; their names and columns."""
    features = catalog.BUILT_IN.select_account_features(("tickets", "usage", "purchases", "touches"))
    columns = [ask.column for asks in group_by_stream(features).values() for ask in asks]
    table = ibis.table(dict.fromkeys([*columns, "created_at", "as_of", "x", "y", "z"], "float64"), name="measured")
    written = {f.name: f.formula(FeatureContext(table)) for f in features} | every_operation(table)
    return Program(written), compile_formulas(written, table.columns), tuple(written), table.columns


@given(st.lists(st.one_of(st.sampled_from([np.nan, 0.0, 1.0, -1.0, 86_400e6]), st.floats()), min_size=1))
@examples(40)
def test_formulas_of_one_account_are_those_of_arrays(values):
    on_arrays, of_one, names, columns = both_programs()
    given = [values[place % len(values)] for place in range(len(columns))]
    told = on_arrays.run({name: np.array([[value]]) for name, value in zip(columns, given, strict=True)})
    for name, value in zip(names, of_one(given), strict=True):
        np.testing.assert_array_equal(value, np.float64(np.squeeze(told[name])), err_msg=name)


def every_operation(t):
    """Formulas with all operations that there is a kernel for, and bounds of all kinds."""
    x, y, z = t.x, t.y, t.z
    return {
        "arithmetic": x + y - z * x / y,
        "signs": (-x).abs() - ibis.ifelse(x >= 0, x, -x).sqrt(),
        "nulls": ibis.coalesce(x.nullif(y), y, z),
        "extremes": ibis.greatest(x, y, z) - ibis.least(x, y, z),
        "conditions": ibis.ifelse(((x > y) & (y <= z)) | ~(x < z) | (x == 1.0) | (y != 0.0), x, z),
        "gaps": ibis.ifelse(x.isnull() & y.notnull(), 1.0, 2.0),
        "bounds": x.clip(lower=-1.0) + y.clip(upper=1.0) + z.clip(lower=0.0, upper=2.0),
    }


def test_one_account_has_a_template_for_each_kernel():
    assert {*formulas._TEMPLATES, *formulas._FOLDED} == set(KERNELS)
