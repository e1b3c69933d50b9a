"""List the accounts of a score table in the order of any of its columns, some at a time."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.settings import Settings
from serving.schemas.list_requests import ORDERS
from serving.scoring.account_order import ColumnOrder, parse_order
from serving.scoring.score_table import ScoreTable


class AccountList:
    """The customers of the newest scores, as the HTTP service lists them.

    Args:
        settings: The company's.
        scores: The newest score table.
    """

    def __init__(self, settings: Settings, scores: ScoreTable) -> None:
        table, horizons = scores.table, scores.horizons.get("churn", ())
        if "in_cohort_churn" in table.column_names:
            table = table.filter(pc.fill_null(table["in_cohort_churn"], True))
        horizon = settings.alert_horizon if settings.alert_horizon in horizons else max(horizons, default=0)
        self.as_of = scores.as_of
        self.score = f"churn_{horizon}d" if horizons else None

        def read(name: str, kind: pa.DataType) -> pa.Array:
            if name not in table.column_names:
                return pa.nulls(len(table), kind)
            values = table[name].cast(kind).combine_chunks()
            return pc.if_else(pc.is_nan(values), None, values) if kind == pa.float64() else values

        money, text = pa.float64(), pa.string()
        risk, before = read(f"{self.score}", money), read(f"{self.score}_before", money)
        columns = {"account_id": read("account_id", text), "risk": risk, "change": pc.subtract(risk, before)}
        columns |= {"value": read("value", money), "value_at_risk": read(f"{self.score}_value", money)}
        self._table = pa.table(columns | {name: read(name, text) for name in ("tier", "recommendation")})
        self._get_order = cache(self._build_order)

    def list_accounts(self, order: str, after: str | None, limit: int) -> dict[str, Any]:
        """List some accounts; the shape is `serving.schemas.responses.AccountsResponse`.

        Args:
            order: One of `ORDERS`, with - in front for descending.
            after: What the page before returned; None for the first page.
            limit: Accounts of the page, at least one.

        Raises:
            GarrisonError: There is no such order, or `after` is none of it.
        """
        column, descending = parse_order(order, ORDERS)
        chosen = self._get_order(column)
        start = chosen.find_start(after, descending=descending) if after else 0
        places = chosen.read(descending=descending)[start : start + limit]
        following = chosen.build_key(int(places[-1])) if start + limit < len(self._table) else None
        rows = self._table.take(pa.array(places.astype(np.int64))).to_pylist()
        return {
            "as_of": self.as_of,
            "score": self.score,
            "total": len(self._table),
            "accounts": rows,
            "after": following,
        }

    def _build_order(self, column: str) -> ColumnOrder:
        return ColumnOrder(self._table[column].combine_chunks(), self._table["account_id"].combine_chunks())
