"""Copies of a company's tables, which are not read anew."""

from __future__ import annotations

import shutil
from pathlib import Path


def copy_tables(company: Path, folder: Path) -> None:
    """Put the files of a company's rows into another folder, their times kept, with what was made of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*company.glob("*.csv"), *company.glob("*.parquet")):
        shutil.copy2(file, folder)
    for made in ("history", "features"):
        if (company / "var" / made).exists():
            shutil.copytree(company / "var" / made, folder / "var" / made)
