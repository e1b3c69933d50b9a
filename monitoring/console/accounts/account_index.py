"""List, sum and find accounts at the newest scores, whatever their number: in any order, by any filter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pyarrow as pa

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros
from features.settings import Settings
from features.state.database import Store
from monitoring.binding import assignments
from monitoring.console.accounts.account_snapshot import AccountSnapshot
from monitoring.console.accounts.account_sums import AccountSum, By
from monitoring.console.accounts.account_table import AccountTable, build_table
from serving.scoring import score_table

if TYPE_CHECKING:
    from monitoring.console.sign_in.access import RowFilter

DEFAULT_ORDER = "-value_at_risk"
# Seconds between looks whether a run has landed.
_PAUSE = 5.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class AccountRow:
    """One account at the newest scores; None is unknown.

    Args:
        account_id: Of the account.
        name: As its record has it.
        owner: Address in lower case, the assigned one where a person assigned one.
        parent_id: Of its parent account.
        region: As its record has it.
        tier: A to E.
        risk: Churn score over the index's horizon.
        risk_low: Lower end of its 90 % interval.
        risk_high: Upper end of it.
        risk_before: The score of the run before.
        change: Since then.
        value: Money that the account brings in `value_days`.
        value_at_risk: That times the risk.
        upsell: Score of a sale.
        upsell_gain: Expected money of it.
        recommendation: act, sell or leave_alone.
        withheld: Whether a sale is likely and not offered.
        why: The recommendation's reason.
        leaves_in_days: Mean days until the account leaves, if it does.
        next_renewal: When the term under way ends.
        last_touch: When it was last spoken to.
        is_customer: Whether it is in the cohort of the scores.
    """

    account_id: str
    name: str | None
    owner: str | None
    parent_id: str | None
    region: str | None
    tier: str | None
    risk: float | None
    risk_low: float | None
    risk_high: float | None
    risk_before: float | None
    change: float | None
    value: float | None
    value_at_risk: float | None
    upsell: float | None
    upsell_gain: float | None
    recommendation: str | None
    withheld: bool | None
    why: str | None
    leaves_in_days: float | None
    next_renewal: datetime | None
    last_touch: datetime | None
    is_customer: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = {name: getattr(self, name) for name in AccountRow.__dataclass_fields__}
        return plain | {n: v.isoformat() for n, v in plain.items() if isinstance(v, datetime)}


@dataclass(frozen=True)
class AccountPage:
    """Some accounts in an order.

    Args:
        rows: At most as many as asked for.
        total: Accounts that the filters let pass, on all pages.
        after: What the next page begins after; None on the last one.
        as_of: Of their scores.
    """

    rows: tuple[AccountRow, ...]
    total: int
    after: str | None
    as_of: datetime


class AccountIndex:
    """All accounts at the newest scores; may be used by several threads at once.

    A run that lands, and an owner that a person assigns, are taken up without a restart: a new snapshot takes the place
    of the old one at once, and requests under way end on the one that they began with.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._lock = threading.Lock()
        self._seen = (_find_newest(settings), assignments.count_assignments(store))
        self._base = build_table(settings, self._seen[0][0])
        self._current = AccountSnapshot(self._base, assignments.read_owners(store))
        self._looked = monotonic()

    @classmethod
    def open(cls, settings: Settings, store: Store) -> Self:
        """Read the newest scores and the company's accounts.

        Args:
            settings: The company's.
            store: Its state database.

        Raises:
            GarrisonError: They can't be read.
        """
        return cls(settings, store)

    @property
    def as_of(self) -> datetime:
        """Return the instant of the scores; that of opening where nothing is scored."""
        return self._current.about.as_of

    @property
    def about(self) -> AccountTable:
        """Return what is known of the run."""
        return self._current.about

    @property
    def version(self) -> int:
        """Return a number that changes whenever the snapshot does."""
        return id(self._current)

    def refresh(self) -> bool:
        """Take up a newer run, and owners assigned since; returns whether there was anything to take up.

        Raises:
            GarrisonError: The new ones can't be read: the old ones stay in use.
        """
        with self._lock:
            self._looked = monotonic()
            seen = (_find_newest(self._settings), assignments.count_assignments(self._store))
            if seen == self._seen:
                return False
            if seen[0] != self._seen[0]:
                self._base = build_table(self._settings, seen[0][0])
            self._current = AccountSnapshot(self._base, assignments.read_owners(self._store))
            self._seen = seen
            return True

    def list_accounts(  # noqa: PLR0913  # each a choice of the reader's
        self,
        rows: RowFilter,
        *,
        order: str = DEFAULT_ORDER,
        after: str | None = None,
        limit: int = 50,
        search: str = "",
        filters: Mapping[str, Any] | None = None,
    ) -> AccountPage:
        """List the accounts of one page.

        Args:
            rows: What the reader may see.
            order: A column of `account_order.COLUMNS`, with - in front for descending.
            after: `AccountPage.after` of the page before; None for the first.
            limit: Accounts of the page.
            search: A part of name or id.
            filters: As of `account_conditions.build_conditions`.

        Raises:
            GarrisonError: There is no such order, page or filter.
        """
        snapshot = self._take_up()
        mask = snapshot.find_matches(rows, search, filters or {})
        places, key = snapshot.select_page(mask, order, after, limit)
        return AccountPage(_build_rows(snapshot, places), int(np.count_nonzero(mask)), key, snapshot.about.as_of)

    def iterate_accounts(
        self,
        rows: RowFilter,
        *,
        order: str = DEFAULT_ORDER,
        search: str = "",
        filters: Mapping[str, Any] | None = None,
        chunk: int = 5_000,
    ) -> Iterator[tuple[AccountRow, ...]]:
        """Yield all accounts that the filters let pass, some at a time, of one run; arguments as of `list_accounts`.

        There is at least one part, which may be empty.
        """
        snapshot, key = self._take_up(), None
        mask = snapshot.find_matches(rows, search, filters or {})
        while True:
            places, key = snapshot.select_page(mask, order, key, chunk)
            yield _build_rows(snapshot, places)
            if key is None:
                return

    def sum_accounts(
        self,
        rows: RowFilter,
        by: By,
        *,
        search: str = "",
        filters: Mapping[str, Any] | None = None,
        most: int | None = None,
    ) -> list[AccountSum]:
        """Sum the accounts that the filters let pass by tier, in their order, or by owner, the most at risk first."""
        return self._take_up().sum_matches(rows, search, filters or {}).list_groups(by, most)

    def count_groups(
        self, rows: RowFilter, by: By, *, search: str = "", filters: Mapping[str, Any] | None = None
    ) -> int:
        """Count the tiers or owners of the accounts that the filters let pass; those without count as one more."""
        return self._take_up().sum_matches(rows, search, filters or {}).count_groups(by)

    def sum_all(self, rows: RowFilter, *, search: str = "", filters: Mapping[str, Any] | None = None) -> AccountSum:
        """Sum all the accounts that the filters let pass."""
        return AccountSum.add(self._take_up().sum_matches(rows, search, filters or {}).list_groups("tier"))

    def find_account(self, rows: RowFilter, account_id: str) -> AccountRow | None:
        """Find an account by its id; None where there is none that the reader may see."""
        snapshot = self._take_up()
        return next(iter(_build_rows(snapshot, snapshot.list_seen(rows, [snapshot.find_place(account_id)]))), None)

    def find_accounts(self, rows: RowFilter, account_ids: Sequence[str]) -> dict[str, AccountRow]:
        """Find several accounts by their ids; those that the reader may not see, or that are none, are left out."""
        snapshot = self._take_up()
        places = snapshot.list_seen(rows, [snapshot.find_place(account) for account in dict.fromkeys(account_ids)])
        return {row.account_id: row for row in _build_rows(snapshot, places)}

    def list_visible(self, rows: RowFilter, *, most: int) -> list[str] | None:
        """List the ids of the accounts that a reader may see; None where they are more than `most`."""
        return self._take_up().list_visible(rows, most)

    def take_snapshot(self) -> AccountSnapshot:
        """Return the accounts of one run, which never change: for what must look at the same ones twice."""
        return self._take_up()

    def has_values(self, column: str) -> bool:
        """Return whether any account has a value in a column that accounts can be ordered by."""
        return self._current.orders[column].known > 0

    def list_values(self, column: Literal["owner", "region"]) -> list[str]:
        """List the values of a column, ascending."""
        return self._take_up().list_values(column)

    def _take_up(self) -> AccountSnapshot:
        """Return the snapshot to answer from; now and then looks, in the background, whether there is a newer one."""
        if monotonic() - self._looked > _PAUSE:
            self._looked = monotonic()
            threading.Thread(target=self._refresh_quietly, name="account-index", daemon=True).start()
        return self._current

    def _refresh_quietly(self) -> None:
        try:
            self.refresh()
        except GarrisonError as error:
            _LOG.warning("the newest scores can't be read, keeping those before: %s", error)


def _find_newest(settings: Settings) -> tuple[Path | None, int]:
    """Find the newest score table, and when it was written (ns)."""
    file = score_table.find_newest(settings)
    return file, 0 if file is None else file.stat().st_mtime_ns


def _build_rows(snapshot: AccountSnapshot, places: Sequence[int]) -> tuple[AccountRow, ...]:
    if not places:
        return ()
    wanted = pa.array(places, pa.int32())
    columns = {name: snapshot.read_column(name).take(wanted).to_pylist() for name in AccountRow.__dataclass_fields__}
    for name in ("next_renewal", "last_touch"):
        columns[name] = [None if at is None else from_micros(at) for at in columns[name]]
    return tuple(map(AccountRow, *columns.values()))
