"""Count the accounts whose owner no letter can reach, by what is wrong with the address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from features.core.addresses import describe_fault
from features.settings import Settings
from features.sources.history import History


def list_owner_remarks(history: History, settings: Settings) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong with the owners of accounts.

    None where all can be reached, or where no column tells the owner.
    """
    if "owner_email" not in settings.tables["accounts"].columns:
        return
    owners = history.query("SELECT owner_email, count(*) AS accounts FROM accounts GROUP BY owner_email")
    faults: Counter[str] = Counter()
    for owner, accounts in zip(owners["owner_email"].astype(object), owners["accounts"], strict=True):
        fault = describe_fault(owner if isinstance(owner, str) else None)
        if fault:
            faults[fault] += int(accounts)
    total = int(owners["accounts"].sum())
    for fault, accounts in faults.most_common():
        yield (
            f"accounts: {accounts:,} of {total:,} have no owner that a letter can reach: {fault}. "
            "Their letters go to the parent account's owner, else to alerts.fallback_owner"
        )
