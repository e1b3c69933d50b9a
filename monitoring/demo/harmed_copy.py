"""Copy a sample company, with one source cut short and its verdicts so far, to show how a harmed run is held."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import duckdb

from features.core.contract import TABLES

_FOLDER = Path("var/demo/harmed")
# What the copy takes along, so that its run is compared with the company's last accepted one.
_STATE = ("garrison.db", "scores", "snapshots")


@dataclass(frozen=True)
class HarmedCopy:
    """A copy of a sample company with one harmed source.

    Args:
        config: Its TOML file.
        samples: The folder that takes the place of `var/samples`.
        var: The folder of its outputs.
    """

    config: Path
    samples: Path
    var: Path

    @classmethod
    def make(cls, config: str, table: str, *, until: datetime) -> Self:
        """Make the copy anew.

        Args:
            config: The company's TOML file, whose sources lie in `var/samples`.
            table: The event table that stops.
            until: The instant from which it has no rows, UTC without a zone.
        """
        text = Path(config).read_text(encoding="utf-8")
        company = tomllib.loads(text)["company"]["name"].lower()
        copy = cls(_FOLDER / f"{company}.toml", _FOLDER / "samples", _FOLDER / "var")
        shutil.rmtree(_FOLDER, ignore_errors=True)
        shutil.copytree(Path("var/samples") / company, copy.samples / company, ignore=shutil.ignore_patterns(table))
        _cut(Path("var/samples") / company / table, copy.samples / company / table, str(TABLES[table].time), until)
        (copy.var / company).mkdir(parents=True)
        for name in _STATE:
            source = Path("var") / company / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy.var / company / name)
        copy.config.write_text(f'{text}\n[paths]\nvar = "{copy.var.as_posix()}"\n', encoding="utf-8")
        return copy


def _cut(source: Path, target: Path, time: str, until: datetime) -> None:
    """Write the Parquet files of a folder without the rows from `until` on."""
    target.mkdir(parents=True)
    with duckdb.connect() as connection:
        for part in sorted(source.glob("*.parquet")):
            rows = connection.read_parquet(str(part))
            rows.filter(f"{time} < TIMESTAMPTZ '{until:%Y-%m-%d}'").write_parquet(str(target / part.name))
