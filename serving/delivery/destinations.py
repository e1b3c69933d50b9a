"""Open a destination by its name: a file, a table of a database, Salesforce or HubSpot."""

from __future__ import annotations

from pathlib import Path

from features.core.errors import GarrisonError
from features.settings import Settings
from serving.delivery import crm_fields, files
from serving.delivery.database import DatabaseDestination
from serving.delivery.destination import FieldStatus
from serving.delivery.hubspot import HubSpotDestination
from serving.delivery.salesforce import SalesforceDestination

_FILES = {".csv", ".parquet", ".xlsx"}
RemoteDestination = DatabaseDestination | HubSpotDestination | SalesforceDestination


def check_destination(to: str, settings: Settings) -> None:
    """Check that a destination exists and is ready for the scores, before anything is scored.

    A CRM is asked for its fields; a database is not touched.

    Raises:
        GarrisonError: There is no such destination, a secret is missing, or the CRM lacks a field.
    """
    if is_file(to):
        return
    destination = open_destination(to, settings)
    try:
        if not isinstance(destination, DatabaseDestination):
            destination.check_fields(crm_fields.list_expected_columns(settings))
    finally:
        destination.close()


def list_fields(to: str, settings: Settings, *, create: bool = False) -> list[FieldStatus]:
    """Return the fields that scores need at a destination, and whether they existed.

    Args:
        to: A database or a CRM.
        settings: The company's.
        create: Create those that are missing.

    Raises:
        GarrisonError: It is a file or no destination, or it does not let Garrison read or create fields.
    """
    if is_file(to):
        raise GarrisonError("a file has no fields to be made", found=to, hint="Name a database, salesforce or hubspot")
    destination = open_destination(to, settings)
    try:
        return destination.list_fields(crm_fields.list_expected_columns(settings), create=create)
    finally:
        destination.close()


def is_file(to: str) -> bool:
    """Return whether a destination is a file, which is written whole each time."""
    return "://" not in to and Path(to).suffix.lower() in _FILES


def check_capacity(to: str, rows: int) -> None:
    """Check that a destination can hold so many rows, before they are scored.

    Raises:
        DeliveryError: It is an Excel file, and they are too many.
    """
    if is_file(to):
        files.check_capacity(Path(to), rows)


def open_destination(to: str, settings: Settings) -> RemoteDestination:
    """Open a database's table or a CRM.

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
