from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pandas as pd
import pytest
import sqlalchemy as sa

from features.core.errors import DeliveryError, GarrisonError
from features.settings import Crm
from features.state import database
from serving.delivery import destinations, files
from serving.delivery.database import TABLE
from serving.delivery.deliver import deliver
from tests.support.state_settings import make_state_settings


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


def rows(url: str, table: str = TABLE) -> list[dict[str, object]]:
    engine = database.connect(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text(f'SELECT * FROM "{table}" ORDER BY account_id')).mappings().all()  # noqa: S608
    engine.dispose()
    return [dict(row) for row in found]


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    churn = SimpleNamespace(horizons=(30, 90))
    return make_state_settings(f"sqlite:///{tmp_path}/state/state.db", tmp_path, crm=Crm(), targets={"churn": churn})


@pytest.fixture
def write(settings: Any) -> Callable[..., None]:
    def written(to: object, *chunks: pd.DataFrame) -> None:
        with database.open(settings) as opened:
            deliver(settings, opened, chunks, str(to)).raise_for_failures()

    return written


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d", " \u200b=", "|"])
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_no_text_of_a_file_is_a_formula(kind: str, start: str, write: Callable[..., None], tmp_path: Path) -> None:
    written = tmp_path / f"s.{kind}"
    write(written, frame(account_id=[f"{start}1+1", "b=1"], drivers=[f"{start}cmd", "+"]))
    if kind == "csv":
        with written.open(newline="") as file:
            found = [(r["account_id"], r["drivers"], float(r["churn_90d"])) for r in csv.DictReader(file)]
    else:
        sheet = openpyxl.load_workbook(written).active
        assert all(cell.data_type != "f" and cell.hyperlink is None for row in sheet for cell in row)
        found = [(row[0], row[4], row[2]) for row in list(sheet.values)[1:]]
        start = start.replace("\r", "_x000D_")  # as the format has it
    # Numbers stay numbers.
    assert found == [(f"'{start}1+1", f"'{start}cmd", 1 / 3), ("b=1", "'+", -0.5)]


def test_links_in_an_excel_file_stay_texts(write: Callable[..., None], tmp_path: Path) -> None:
    write(tmp_path / "s.xlsx", frame(drivers=["https://harbour.example", "mailto:a@b.example"]))
    sheet = openpyxl.load_workbook(tmp_path / "s.xlsx").active
    assert [row[4].hyperlink for row in sheet] == [None, None, None]
    assert sheet["E2"].value == "https://harbour.example"


def test_an_excel_file_holds_numbers_instants_and_flags_as_such(write: Callable[..., None], tmp_path: Path) -> None:
    write(tmp_path / "s.xlsx", frame(churn_90d=[1 / 3, float("inf")]), frame(account_id=["c", "d"]))
    found = list(openpyxl.load_workbook(tmp_path / "s.xlsx").active.values)
    assert [row[0] for row in found] == ["account_id", "a", "b", "c", "d"]
    assert found[1] == ("a", pd.Timestamp("2024-01-01").to_pydatetime(), 1 / 3, None, "usage fell", True)
    assert found[2][2:4] == (None, 12.25)
    first = (tmp_path / "s.xlsx").read_bytes()
    write(tmp_path / "s.xlsx", frame(churn_90d=[1 / 3, float("inf")]), frame(account_id=["c", "d"]))
    assert (tmp_path / "s.xlsx").read_bytes() == first


def test_a_text_longer_than_a_cell_is_cut(write: Callable[..., None], tmp_path: Path) -> None:
    write(tmp_path / "s.xlsx", frame(drivers=["x" * 40_000, "y"]))
    found = openpyxl.load_workbook(tmp_path / "s.xlsx").active["E2"].value
    assert (len(found), found[-2:]) == (32_767, "x…")


def test_more_rows_than_a_sheet_holds_are_refused_before_and_while_they_are_written(
    write: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destinations.check_capacity(f"{tmp_path}/s.xlsx", files.EXCEL_ROWS)
    destinations.check_capacity(f"{tmp_path}/s.csv", 2 * files.EXCEL_ROWS)
    with pytest.raises(DeliveryError, match=r"1,048,576 rows, where a sheet holds 1,048,575.*\.parquet"):
        destinations.check_capacity(f"{tmp_path}/s.xlsx", files.EXCEL_ROWS + 1)
    monkeypatch.setattr(files, "EXCEL_ROWS", 4)
    write(tmp_path / "s.xlsx", frame(), frame())
    held = (tmp_path / "s.xlsx").read_bytes()
    with pytest.raises(DeliveryError, match=r"s\.xlsx can't hold the scores.*6 rows"):
        write(tmp_path / "s.xlsx", frame(), frame(), frame())
    assert (tmp_path / "s.xlsx").read_bytes() == held
    assert not list(tmp_path.glob("*.part"))


def test_csv_and_parquet_hold_the_same_to_the_last_bit(write: Callable[..., None], tmp_path: Path) -> None:
    empty = frame(account_id=["c", "d"], drivers=[None, None])
    for chunks in ((frame(), empty), (empty, frame())):
        write(tmp_path / "s.csv", *chunks)
        write(tmp_path / "s.parquet", *chunks)
        read = pd.read_parquet(tmp_path / "s.parquet")
        assert read["churn_90d"].tolist() == pd.read_csv(tmp_path / "s.csv")["churn_90d"].tolist()
        assert read["churn_90d"].tolist() == [1 / 3, -0.5] * 2
        assert read["as_of"].tolist() == frame()["as_of"].tolist() * 2
        assert "usage fell" in read["drivers"].tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.csv", "s.parquet", "state"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_table_is_made_updated_and_widened(
    kind: str, write: Callable[..., None], settings: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/crm.db" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    write(url, frame())
    write(url, frame(account_id=["b", "c"], churn_30d=[0.25, 0.5]))
    found = rows(url)
    assert [(r["account_id"], r["churn_90d"], r["churn_30d"]) for r in found] == [
        ("a", 1 / 3, None),
        ("b", 1 / 3, 0.25),
        ("c", -0.5, 0.5),
    ]
    assert found[0]["value"] is None
    assert bool(found[0]["in_cohort"]) is True
    write(f"{url}#other table", frame())
    assert len(rows(url, "other table")) == 2
    needs = {need.name: need.exists for need in destinations.list_fields(url, settings)}
    assert (needs["churn_30d"], needs["tier"]) == (True, False)
    destinations.list_fields(url, settings, create=True)
    assert all(need.exists for need in destinations.list_fields(url, settings))
    assert rows(url)[0]["tier"] is None


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_table_with_another_key_is_refused_and_left_as_it_was(
    kind: str, write: Callable[..., None], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/crm.db" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    engine = database.connect(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY, account_id TEXT)"))
    with pytest.raises(DeliveryError, match=r"the table t does not take the scores.*its key is id.*account_id"):
        write(f"{url}#t", frame())
    assert [c["name"] for c in sa.inspect(engine).get_columns("t")] == ["id", "account_id"]
    engine.dispose()


@pytest.mark.parametrize("to", ["scores.xls", "scores", "mysql://host/name", "nothing://", "Salesforce"])
def test_an_unknown_destination_is_named(to: str, settings: Any) -> None:
    with pytest.raises(GarrisonError, match=r"\.csv|sqlite:///"):
        destinations.check_destination(to, settings)


def test_a_file_has_no_fields_to_be_made(settings: Any) -> None:
    with pytest.raises(GarrisonError, match="a file has no fields"):
        destinations.list_fields("scores.csv", settings)


@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_a_file_that_can_not_be_written_leaves_nothing_behind(
    kind: str, write: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(DeliveryError, match="can't be written"):
        write(f"{tmp_path}/file/s.{kind}", frame())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "state"]
