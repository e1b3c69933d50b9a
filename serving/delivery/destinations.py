"""Where batch scores go besides the store: files, tables of databases, and the CRMs Salesforce and HubSpot."""

from __future__ import annotations

from pathlib import Path

from features.core.errors import GarrisonError
from features.settings import Settings
from serving.delivery import crm_fields, files
from serving.delivery.database import DatabaseDestination
from serving.delivery.destination import Destination, FieldStatus
from serving.delivery.hubspot import HubSpotDestination
from serving.delivery.salesforce import SalesforceDestination

__all__ = [
    "DatabaseDestination",
    "Destination",
    "HubSpotDestination",
    "SalesforceDestination",
    "check_capacity",
    "check_destination",
    "is_file",
    "list_fields",
    "open_destination",
]

_FILES = {".csv", ".parquet", ".xlsx"}
Remote = DatabaseDestination | HubSpotDestination | SalesforceDestination


def check_destination(to: str, settings: Settings) -> None:
    """Whether there is such a destination, ready for the scores; said before the work, not after it.

    A cloud is asked for its fields, a database is not touched.

    Raises:
        GarrisonError: It is none of those there are, a secret is missing, or the cloud lacks a field.
    """
    if is_file(to):
        return
    destination = open_destination(to, settings)
    try:
        if not isinstance(destination, DatabaseDestination):
            destination.check(crm_fields.list_expected_columns(settings))
    finally:
        destination.close()


def list_fields(to: str, settings: Settings, *, create: bool = False) -> list[FieldStatus]:
    """The fields that scores need there, and whether they were there.

    Args:
        to: A database or a CRM.
        settings: The company's.
        create: Make those that are missing.

    Raises:
        GarrisonError: It is a file or no destination, or it does not let us look or make them.
    """
    if is_file(to):
        raise GarrisonError("a file has no fields to be made", found=to, hint="Name a database, salesforce or hubspot")
    destination = open_destination(to, settings)
    try:
        return destination.needs(crm_fields.list_expected_columns(settings), create=create)
    finally:
        destination.close()


def is_file(to: str) -> bool:
    """Whether it is a file; a file is written whole, each time."""
    return "://" not in to and Path(to).suffix.lower() in _FILES


def check_capacity(to: str, rows: int) -> None:
    """Whether it can hold so many rows; said before they are scored.

    Raises:
        DeliveryError: It is an Excel file, and they are too many.
    """
    if is_file(to):
        files.check_capacity(Path(to), rows)


def open_destination(to: str, settings: Settings) -> Remote:
    """A database's table, or a CRM.

    Raises:
        GarrisonError: There is no such destination, or the settings or a secret for it are missing.
    """
    if "://" in to:
        return DatabaseDestination(to)
    if to == "salesforce":
        return SalesforceDestination(settings)
    if to == "hubspot":
        return HubSpotDestination(settings)
    raise GarrisonError(
        f"--to {to} is no destination",
        hint="Name a file that ends in .csv, .parquet or .xlsx, a database: sqlite:///file.db#table, "
        "postgresql://…#table, or a CRM: salesforce, hubspot",
    )
