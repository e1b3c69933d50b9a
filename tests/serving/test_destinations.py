from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from features.errors import DeliveryError, GarrisonError
from serving import destinations, store


def frame(**more: object) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": ["a", "b"],
            "as_of": pd.to_datetime(["2024-01-01", "2024-01-01"], utc=True).astype("datetime64[us, UTC]"),
            "churn_90d": [1 / 3, -0.5],
            "value": [None, 12.25],
            "drivers": ["usage fell", ""],
            "in_cohort": pd.array([True, None], dtype="boolean"),
        }
        | more
    )


def rows(url: str, table: str = destinations.TABLE) -> list[dict[str, object]]:
    engine = store.connect(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text(f'SELECT * FROM "{table}" ORDER BY account_id')).mappings().all()  # noqa: S608
    engine.dispose()
    return [dict(row) for row in found]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_of_a_csv_file_is_a_formula(start: str, tmp_path: Path) -> None:
    destinations.write(frame(account_id=[f"{start}1+1", "b=1"], drivers=[f"{start}cmd", "+"]), f"{tmp_path}/s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [r["account_id"] for r in found] == [f"'{start}1+1", "b=1"]
    assert [r["drivers"] for r in found] == [f"'{start}cmd", "'+"]
    assert [float(r["churn_90d"]) for r in found] == [1 / 3, -0.5]  # numbers stay numbers


def test_csv_and_parquet_hold_the_same_to_the_last_bit(tmp_path: Path) -> None:
    destinations.write(frame(), f"{tmp_path}/s.csv")
    destinations.write(frame(), f"{tmp_path}/s.parquet")
    read = pd.read_parquet(tmp_path / "s.parquet")
    assert read["churn_90d"].tolist() == pd.read_csv(tmp_path / "s.csv")["churn_90d"].tolist() == [1 / 3, -0.5]
    assert read["as_of"].tolist() == frame()["as_of"].tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.csv", "s.parquet"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_table_is_made_updated_and_widened(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/crm.db" if kind == "sqlite" else str(request.getfixturevalue("postgres"))
    destinations.write(frame(), url)
    destinations.write(frame(account_id=["b", "c"], churn_30d=[0.25, 0.5]), url)
    found = rows(url)
    assert [(r["account_id"], r["churn_90d"], r["churn_30d"]) for r in found] == [
        ("a", 1 / 3, None),
        ("b", 1 / 3, 0.25),
        ("c", -0.5, 0.5),
    ]
    assert found[0]["value"] is None
    assert bool(found[0]["in_cohort"]) is True
    destinations.write(frame(), f"{url}#other table")
    assert len(rows(url, "other table")) == 2


def test_a_table_with_another_key_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/crm.db"
    engine = store.connect(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY, account_id TEXT)"))
    with pytest.raises(DeliveryError, match=r"the table t does not take the scores.*account_id"):
        destinations.write(frame(), f"{url}#t")
    assert [c["name"] for c in sa.inspect(engine).get_columns("t")] == ["id", "account_id"]
    engine.dispose()


@pytest.mark.parametrize("to", ["scores.xls", "scores", "mysql://host/name", "nothing://"])
def test_an_unknown_destination_is_named(to: str) -> None:
    with pytest.raises(GarrisonError, match=r"\.csv|sqlite:///"):
        destinations.check(to)


def test_a_file_that_can_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(DeliveryError, match="can't be written"):
        destinations.write(frame(), f"{tmp_path}/file/s.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
