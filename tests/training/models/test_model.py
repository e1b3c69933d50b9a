"""The deployable model: the same bits wherever it is loaded, whole or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from features.core.errors import RegistryError
from features.core.timestamps import to_micros, to_micros_column
from features.engine import snapshots
from features.sources.history import History
from training.models.level import Level
from training.models.model import Model


@pytest.fixture(scope="module")
def frame(company):
    with History.open(company.settings) as history:
        return snapshots.build(history, [datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2)])


@pytest.fixture(scope="module")
def bundle(fitted):
    return replace(fitted["churn"].model, run_id="abc")


@pytest.fixture
def folder(bundle, tmp_path):
    bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def score(bundle, frame):
    return bundle.probabilities(bundle.matrix(frame))


def test_saved_and_loaded_it_gives_the_same_bits(bundle, folder, frame):
    loaded = Model.load(folder, version="churn-3")
    assert score(loaded, frame).tobytes() == score(bundle, frame).tobytes()
    assert loaded.version == "churn-3"
    plain = replace(loaded, reference=bundle.reference, version="")
    assert plain == bundle
    pd.testing.assert_frame_equal(loaded.reference, bundle.reference.reset_index(drop=True))


def test_saved_again_it_is_the_same_files(folder, tmp_path):
    Model.load(folder).save(tmp_path / "again")
    for file in ("bundle.json", "booster_30d.txt", "booster_60d.txt"):
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_a_batch_gives_the_same_bits_as_row_by_row(bundle, frame):
    rows = [score(bundle, frame.iloc[[i]]) for i in range(60)]
    assert np.concatenate(rows).tobytes() == score(bundle, frame.head(60)).tobytes()


def test_intervals_hold_their_scores_and_are_the_same_bits_row_by_row_and_loaded(bundle, frame, tmp_path):
    few, as_of = score(bundle, frame.head(60)), np.full(60, 1_700_000_000_000_000)
    low, high = bundle.find_ends(few, as_of)
    assert ((low < few) & (few < high)).all()
    rows = np.array([bundle.find_ends(few[[i]], as_of[[i]]) for i in range(60)])
    assert rows[:, 0, 0].tobytes() == low.tobytes()
    assert rows[:, 1, 0].tobytes() == high.tobytes()
    bundle.save(tmp_path)
    assert Model.load(tmp_path).find_ends(few, as_of)[0].tobytes() == low.tobytes()


def test_a_large_batch_on_all_cores_gives_the_same_bits(bundle, frame):
    many = pd.concat([frame] * 4, ignore_index=True)
    assert len(many) > 1000
    assert score(bundle, many).tobytes() == np.concatenate([score(bundle, frame)] * 4).tobytes()


def test_a_longer_horizon_is_never_less_likely_to_end(bundle, frame):
    probabilities = score(bundle, frame)
    assert probabilities.shape == (len(frame), 2)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert bundle.order == 1
    assert (np.diff(probabilities, axis=1) >= 0).all()


def test_horizons_are_kept_in_the_order_of_the_label(bundle, frame):
    longer_first = (replace(bundle.horizon_models[1], horizon=30), replace(bundle.horizon_models[0], horizon=60))
    asked = replace(bundle, horizon_models=longer_first, order=0)
    apart = score(asked, frame)
    assert (np.diff(apart, axis=1) < 0).any()
    rising, falling = score(replace(asked, order=1), frame), score(replace(bundle, order=-1), frame)
    assert np.array_equal(rising, np.column_stack([apart[:, 0], apart.max(axis=1)]))
    assert np.array_equal(falling, np.column_stack([apart[:, 1], apart.min(axis=1)]))


def test_no_rows_have_no_probabilities(bundle, frame):
    assert score(bundle, frame.head(0)).shape == (0, 2)


def test_the_order_of_the_columns_and_further_ones_do_not_matter(bundle, frame):
    assert list(frame) != sorted(frame)
    assert score(bundle, frame[sorted(frame)].assign(more=1)).tobytes() == score(bundle, frame).tobytes()


def test_an_unseen_category_is_scored_as_missing(bundle, frame):
    codes = bundle.matrix(frame.assign(plan="platinum"))[:, bundle.features.index("plan")]
    assert np.isnan(codes).all()
    unseen, missing = score(bundle, frame.assign(plan="platinum")), score(bundle, frame.assign(plan=None))
    assert unseen.tobytes() == missing.tobytes()
    assert (unseen != score(bundle, frame)).any()


def test_a_categorys_code_is_its_place_in_training(bundle, frame):
    codes = bundle.matrix(frame)[:, bundle.features.index("plan")]
    assert [bundle.categories["plan"][int(c)] for c in codes] == frame["plan"].tolist()


def test_snapshots_that_lack_a_feature_are_refused_by_its_name(bundle, frame):
    with pytest.raises(RegistryError, match=r"lack: plan, seats\. "):
        bundle.matrix(frame.drop(columns=["plan", "seats"]))


def test_contributions_add_up_to_the_log_odds(bundle, frame):
    matrix = bundle.matrix(frame.head(20))
    contributions = bundle.contributions(matrix, 60)
    assert contributions.shape == (20, len(bundle.features))
    head = bundle.horizon_models[1]
    assert head.linear
    assert 0 < head.linear_weight < 1
    rest = head.log_odds(matrix) - contributions.sum(axis=1)
    assert rest == pytest.approx(np.full(20, rest[0]), abs=1e-9)


def test_of_a_model_without_an_additive_part_the_trees_alone_count(bundle, frame, tmp_path):
    older = replace(
        bundle,
        horizon_models=tuple(replace(head, linear=None, linear_weight=0.0) for head in bundle.horizon_models),
        order=0,
    )
    older.save(tmp_path)
    manifest = json.loads((tmp_path / "bundle.json").read_text())
    for head in manifest["heads"]:
        del head["linear"], head["share"]
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    found, matrix = Model.load(tmp_path), older.matrix(frame)
    trees = older.horizon_models[0].booster.predict(matrix, raw_score=True)
    assert np.array_equal(found.probabilities(matrix)[:, 0], older.horizon_models[0].calibrator(trees))
    assert (found.probabilities(matrix) != bundle.probabilities(matrix)).any()


@pytest.fixture
def moving(bundle):
    """The model with a level that moves: sure from February to March 2024, unsure in June."""
    days = tuple((datetime(2024, month, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days for month in (1, 2, 3))
    level = Level("year ago", days, (-1.0, 0.5, 1.0), 2.0)
    return replace(bundle, horizon_models=tuple(replace(h, level=level) for h in bundle.horizon_models), order=0)


def test_a_level_that_moves_is_read_from_as_of(moving, frame):
    matrix = moving.matrix(frame)
    assert moving.inputs == (*moving.features, "as_of")
    assert matrix.shape == (len(frame), len(moving.inputs))
    head = moving.horizon_models[0]
    log_odds = head.calibrator.slope * head.log_odds(matrix[:, :-1])
    february = (frame["as_of"] == pd.Timestamp("2024-02-01", tz="UTC")).to_numpy()
    assert np.array_equal(moving.probabilities(matrix)[february, 0], expit(log_odds[february] + 0.5))
    assert np.array_equal(
        moving.contributions(matrix, 30), replace(moving, horizon_models=(head,)).contributions(matrix, 30)
    )
    unknown = moving.probabilities(moving.matrix(frame.drop(columns="as_of")))
    assert np.array_equal(unknown[:, 0], expit(log_odds + 2.0))


def test_as_of_in_whole_microseconds_gives_the_same_bits_as_dates(moving, frame):
    columns = {name: frame[name].to_numpy() for name in frame} | {"as_of": to_micros_column(frame["as_of"]).to_numpy()}
    assert score(moving, columns).tobytes() == score(moving, frame).tobytes()
    alone = np.concatenate([score(moving, frame.iloc[[i]]) for i in range(40)])
    assert alone.tobytes() == score(moving, frame.head(40)).tobytes()


def test_a_level_is_stored_and_it_is_known_where_it_is_unsure(moving, frame, tmp_path):
    moving.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert score(loaded, frame).tobytes() == score(moving, frame).tobytes()
    assert loaded.is_level_unsure(to_micros(datetime(2024, 6, 1, tzinfo=UTC)), 30)
    assert not loaded.is_level_unsure(to_micros(datetime(2024, 2, 10, tzinfo=UTC)), 30)


def test_the_level_of_a_model_without_one_is_not_unsure(bundle):
    assert not bundle.is_level_unsure(to_micros(datetime(2030, 1, 1, tzinfo=UTC)), 30)


def test_a_horizon_it_was_not_trained_for_is_refused_by_name(bundle):
    with pytest.raises(RegistryError, match="no horizon of 45 days") as raised:
        bundle.horizon_model(45)
    assert raised.value.found == "30, 60"


def test_the_folder_holds_text_and_parquet_alone_and_no_pickle(folder):
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert files.keys() == {"bundle.json", "booster_30d.txt", "booster_60d.txt", "reference.parquet"}
    assert files["reference.parquet"][:4] == b"PAR1"
    assert json.loads(files["bundle.json"])["run_id"] == "abc"
    assert files["booster_30d.txt"].startswith(b"tree\n")
    assert b"sklearn" not in files["reference.parquet"]


def test_it_is_loaded_and_scores_without_mlflow(folder):
    code = f"""
import sys
from pathlib import Path
import numpy as np
from training.registry import promotion_log
from training.bundle import Bundle
bundle = Bundle.load(Path({str(folder)!r}))
bundle.probabilities(np.zeros((1, len(bundle.features))))
sys.exit("mlflow is imported" if "mlflow" in sys.modules else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def cut(file):
    file.write_bytes(file.read_bytes()[:-2000])


def rewritten(change):
    def damage(file):
        manifest = json.loads(file.read_text())
        change(manifest)
        file.write_text(json.dumps(manifest))

    return damage


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("booster_60d.txt", cut),
        ("booster_60d.txt", lambda f: f.write_text("")),
        ("booster_30d.txt", lambda f: f.unlink()),
        ("reference.parquet", lambda f: f.unlink()),
        ("reference.parquet", cut),
        ("bundle.json", lambda f: f.unlink()),
        ("bundle.json", cut),
        ("bundle.json", lambda f: f.write_text("[]")),
        ("bundle.json", rewritten(lambda m: m.pop("categories"))),
        ("bundle.json", rewritten(lambda m: m.pop("target"))),
        ("bundle.json", rewritten(lambda m: m.update(unknown=1))),
        ("bundle.json", rewritten(lambda m: m["heads"][0].pop("base_rate"))),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_with_a_clear_error(folder, name, damage):
    damage(folder / name)
    with pytest.raises(RegistryError, match="is not a whole model"):
        Model.load(folder)


def test_a_folder_that_is_not_there_is_refused_with_a_clear_error(tmp_path):
    with pytest.raises(RegistryError, match="nowhere is not a whole model"):
        Model.load(tmp_path / "nowhere")
