"""Read what a person asks the portfolio for from an address, and write addresses of other views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from features.core.errors import GarrisonError
from monitoring.console.accounts.account_conditions import SHOWN
from monitoring.console.accounts.account_index import DEFAULT_ORDER
from serving.scoring.account_order import parse_order

# Shown only where an episode is open: the index knows nothing of episodes.
NEEDS_ME = "needs"
# Columns that may be shown beside the account's name, in this order, and whether they are at first.
COLUMNS = {
    "tier": True,
    "risk": True,
    "change": True,
    "value": True,
    "value_at_risk": True,
    "next_renewal": True,
    "last_touch": True,
    "recommendation": True,
    "owner": True,
    "region": False,
    "upsell": False,
}
_DEFAULT_COLUMNS = tuple(name for name, is_first in COLUMNS.items() if is_first)
FILTERS = ("tier", "owner", "region", "recommendation")
_LONGEST = 200


@dataclass(frozen=True)
class PortfolioView:
    """What is shown of the portfolio.

    Args:
        show: One of `account_conditions.SHOWN`, or `needs`.
        order: A column, with - in front for descending.
        search: A part of name or id.
        after: Key that the page begins after; "" for the first.
        filters: Values by name: tier, owner, region, recommendation.
        columns: That are shown.
    """

    show: str
    order: str = DEFAULT_ORDER
    search: str = ""
    after: str = ""
    filters: Mapping[str, str] = ()  # type: ignore[assignment]  # replaced by `read`
    columns: tuple[str, ...] = _DEFAULT_COLUMNS

    @classmethod
    def read(cls, query: QueryParams) -> Self:
        """Read a view from an address; what it can't mean falls back to what is shown at first.

        An unknown order or show does not, since a saved or typed address then shows something else than it says.

        Raises:
            GarrisonError: There is no such order or show.
        """
        show = query.get("show") or SHOWN[0]
        if show not in {*SHOWN, NEEDS_ME}:
            raise GarrisonError(
                f"accounts can't be shown by {show[:40]!r}", hint=f"One of {', '.join(SHOWN)}, {NEEDS_ME}"
            )
        order = query.get("order") or DEFAULT_ORDER
        parse_order(order)
        chosen = tuple(name for name in COLUMNS if name in query.getlist("column"))
        filters = {name: value[:_LONGEST] for name in FILTERS if (value := query.get(name, "").strip())}
        search = query.get("search", "").strip()[:_LONGEST]
        return cls(show, order, search, query.get("after", ""), filters, chosen or _DEFAULT_COLUMNS)

    def write(self, **changes: Any) -> str:
        """Write the query of the view with some changes; from the first page, unless `after` is one of them."""
        view = replace(
            self, after="", **{k: v for k, v in changes.items() if k in self.__dataclass_fields__ and k != "after"}
        )
        filters = {**self.filters, **{k: v for k, v in changes.items() if k in FILTERS}}
        pairs = [("show", view.show if view.show != SHOWN[0] else ""), ("search", view.search), *filters.items()]
        pairs.append(("order", view.order if view.order != DEFAULT_ORDER else ""))
        if view.columns != _DEFAULT_COLUMNS:
            pairs += [("column", name) for name in view.columns]
        pairs.append(("after", changes.get("after") or ""))
        return urlencode([(name, value) for name, value in pairs if value])

    def sort_by(self, column: str) -> str:
        """Write the query of the view in the order of a column: text ascending, numbers descending, then backwards."""
        current, descending = parse_order(self.order)
        first = column in {"name", "tier", "owner", "region", "recommendation", "next_renewal", "last_touch"}
        if current == column:
            return self.write(order=column if descending else f"-{column}")
        return self.write(order=column if first else f"-{column}")

    def describe_sort(self, column: str) -> str | None:
        """Return how a column is sorted, as `aria-sort` says it; None where it is not."""
        current, descending = parse_order(self.order)
        if current != column:
            return None
        return "descending" if descending else "ascending"
