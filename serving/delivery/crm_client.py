"""What the CRM destinations share: records of mapped fields, no reading back, secrets from the environment."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from features.core.errors import DeliveryError
from serving.delivery import crm_fields
from serving.delivery.crm_fields import CrmField, FieldKind
from serving.delivery.destination import OutgoingRecord


class CrmClient(ABC):
    """A CRM whose accounts have fields of Garrison's.

    It is not asked for what it holds, since that would cost as much as sending: the ledger remembers it.
    """

    is_readable = False
    _fields: tuple[CrmField, ...] = ()

    @abstractmethod
    def check_fields(self, columns: Mapping[str, FieldKind]) -> None:
        """Check that the fields for these columns exist with the right types, and keep them for `build_records`.

        Raises:
            DeliveryError: A field is missing, of another type, or not Garrison's to write to.
        """

    def prepare(self, frame: pd.DataFrame, *, dry_run: bool) -> None:  # noqa: ARG002  # the protocol's signature
        """Check the fields for a frame's columns."""
        self.check_fields(crm_fields.infer_kinds(frame))

    def build_records(self, frame: pd.DataFrame) -> list[OutgoingRecord]:
        """Return the rows of a frame as records of the checked fields."""
        return crm_fields.build_records(frame, self._fields)

    def read_digests(self, accounts: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002  # the protocol's signature
        """Return nothing: a CRM is not read."""
        return {}

    def read_record(self, account_id: str) -> Mapping[str, Any] | None:  # noqa: ARG002  # the protocol's signature
        """Return nothing: a CRM is not read."""
        return None


def read_secret(name: str) -> str:
    """Return an environment variable.

    Raises:
        DeliveryError: It is not set.
    """
    value = os.environ.get(name)
    if not value:
        raise DeliveryError(f"the environment variable {name} is not set", hint=f"export {name}=…")
    return value
