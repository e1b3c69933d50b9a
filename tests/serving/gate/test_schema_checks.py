import numpy as np
import pandas as pd

from serving.gate.schema_checks import check_schema

N = 100


def found(reference, current):
    sound = check_schema(pd.DataFrame(reference), pd.DataFrame(current))
    return [(f.column, f.breaks) for f in sound.findings], list(sound.reference), list(sound.current)


def test_sound_frames_pass_whole_and_keys_are_no_features():
    frame = {"a": np.arange(N, dtype=float), "b": ["x"] * N}
    keys = {"account_id": ["1"] * N, "as_of": pd.Timestamp("2024-01-01", tz="UTC")}
    assert found(frame, keys | frame) == ([], ["a", "b"], ["a", "b"])


def test_a_missing_column_breaks_and_a_new_one_does_not():
    findings, compared, _ = found({"a": [1.0] * N, "b": [1.0] * N}, {"a": [1.0] * N, "c": [1.0] * N})
    assert findings == [("b", True), ("c", False)]
    assert compared == ["a"]


def test_another_type_breaks_and_is_not_compared():
    findings, compared, _ = found({"a": [1.0] * N, "b": ["x"] * N}, {"a": ["1.0"] * N, "b": [1] * N})
    assert findings == [("a", True), ("b", True)]
    assert compared == []


def test_an_emptied_column_breaks():
    findings, compared, _ = found({"a": [1.0] * N, "b": ["x"] * N}, {"a": [np.nan] * N, "b": [None] * N})
    assert findings == [("a", True), ("b", True)]
    assert compared == []


def test_an_empty_column_that_so_few_rows_may_well_leave_empty_does_not_break():
    assert found({"a": [1.0] + [np.nan] * 99}, {"a": [np.nan] * N})[0] == [("a", False)]


def test_a_column_empty_in_training_does_not_break():
    assert found({"a": [np.nan] * N}, {"a": [np.nan] * N})[0] == [("a", False)]
    assert found({"a": [np.nan] * N}, {"a": [1.0] * N})[0] == [("a", False)]


def test_infinity_breaks_and_is_compared_as_missing():
    sound = check_schema(pd.DataFrame({"a": np.arange(N)}), pd.DataFrame({"a": [np.inf, -np.inf, *range(N - 2)]}))
    assert [str(f) for f in sound.findings] == ["a: is infinite in 2 of 100 rows"]
    assert sound.findings[0].breaks
    assert sound.current["a"].isna().sum() == 2


def test_no_rows_break_whichever_side_they_are_missing_on():
    frame = pd.DataFrame({"a": [1.0] * N})
    for sides, which in (((frame, frame[:0]), "the newest snapshot"), ((frame[:0], frame), "the training reference")):
        sound = check_schema(*sides)
        assert [str(f) for f in sound.findings] == [f"{which} has no rows"]
        assert sound.findings[0].breaks


def test_nullable_and_categorical_types_are_understood():
    reference = pd.DataFrame({"a": [1.0] * N, "b": ["x"] * N, "c": [0.0, 1.0] * 50})
    current = pd.DataFrame(
        {
            "a": pd.array([1] * (N - 1) + [None], dtype="Int64"),
            "b": pd.Categorical(["x"] * N),
            "c": [True, False] * 50,
        }
    )
    sound = check_schema(reference, current)
    assert sound.findings == ()
    assert sound.current["a"].isna().sum() == 1
