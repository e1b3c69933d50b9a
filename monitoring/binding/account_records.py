"""Read whom the accounts table names as owner, for accounts and their parents."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from features.sources.history import History

# A chain of parents is followed so far: a longer one, or one that bites its tail, is a fault of the data.
_LONGEST = 10


@dataclass(frozen=True)
class AccountRecord:
    """What the accounts table holds of one account.

    Args:
        name: None if its record has none.
        owner: As exported, whatever it is.
        timezone: Of the owner.
        parent_id: None without a parent.
    """

    name: str | None = None
    owner: str | None = None
    timezone: str | None = None
    parent_id: str | None = None


def read_records(history: History, accounts: Collection[str]) -> Mapping[str, AccountRecord]:
    """Read the records of accounts and of all their parents; an account without a record is left out."""
    records: dict[str, AccountRecord] = {}
    wanted = set(accounts)
    for _ in range(_LONGEST):
        if not wanted:
            break
        records |= _read(history, wanted)
        wanted = {r.parent_id for r in records.values() if r.parent_id} - set(records)
    return records


def list_parents(records: Mapping[str, AccountRecord], account_id: str) -> list[str]:
    """Return an account's parent, its parent's parent and so on, each once."""
    chain: list[str] = []
    parent = records.get(account_id, AccountRecord()).parent_id
    while parent and parent in records and parent not in {*chain, account_id} and len(chain) < _LONGEST:
        chain.append(parent)
        parent = records[parent].parent_id
    return chain


def _read(history: History, accounts: Collection[str]) -> dict[str, AccountRecord]:
    rows = history.query(
        "SELECT account_id, name, owner_email, owner_timezone, parent_id FROM accounts"
        " WHERE account_id IN (SELECT account_id FROM wanted)",
        wanted=pd.DataFrame({"account_id": list(accounts)}, dtype="str"),
    )
    plain = rows.astype(object).where(rows.notna(), None).itertuples(index=False, name=None)
    return {account: AccountRecord(*rest) for account, *rest in plain}
