"""Money in one currency and with one sign: amounts at the rate of their day, refunds as money back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from features.core.contract import TABLES
from features.settings import Settings
from features.sources.mapping import quote_identifier, quote_literal

REFUND = "refund"
# The columns of money, by table; each such table has a currency. What else has the sign of a purchase.
MONEY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"purchases": ("amount", "margin", "list_price"), "contracts": ("value",), "staff": ("rate_per_hour",)}
)
SIGNED = (*MONEY["purchases"], "quantity")
# True where a row's currency has no rate at its day.
UNRATED = '"=unrated"'


def convert(rows: str, settings: Settings, table: str) -> str:
    """Return SQL of staged rows with their money in the company's currency, and refunds as money back.

    A rate holds from its day until the next one of its currency; what no day dates has the newest. Rows without a
    currency are in the company's.

    Args:
        rows: SQL of the staged rows; a canonical column has a dot before its name.
        settings: The company's.
        table: Their table; rows of tables without money stay as they are.
    """
    if table not in MONEY:
        return rows
    mapped = settings.tables[table].columns
    replaced = {c: quote_identifier(f".{c}") for c in (SIGNED if table == "purchases" else MONEY[table])}
    join, unrated = "", "false"
    if "rates" in settings.tables and "currency" in mapped:
        own = quote_literal(settings.company.currency.upper())
        currency = f"coalesce(upper({quote_identifier('.currency')}), {own})"
        time, rates = TABLES[table].time, "SELECT upper(currency) AS currency"
        join = (
            f"ASOF LEFT JOIN ({rates}, day, per_unit FROM main.rates) r "
            f"ON r.currency = {currency} AND e.{quote_identifier(f'.{time}')} >= r.day"
            if time
            else f"LEFT JOIN ({rates}, arg_max(per_unit, day) AS per_unit FROM main.rates GROUP BY 1) r "
            f"ON r.currency = {currency}"
        )
        unrated = f"{currency} <> {own} AND r.per_unit IS NULL"
        for column in MONEY[table]:
            value = replaced[column]
            # As wide as both factors need: of two DECIMAL(18) the product would overflow from some 10,000 on.
            converted = f"CAST(CAST({value} AS DECIMAL(20, 4)) * r.per_unit AS DECIMAL(18, 4))"
            replaced[column] = f"CASE WHEN {currency} = {own} THEN {value} ELSE {converted} END"
    if table == "purchases" and "kind" in mapped:
        is_back = f"{quote_identifier('.kind')} = '{REFUND}' AND {quote_identifier('.amount')} > 0"
        replaced = {c: f"CASE WHEN {is_back} THEN -({sql}) ELSE {sql} END" for c, sql in replaced.items()}
    columns = ", ".join(f"{sql} AS {quote_identifier(f'.{c}')}" for c, sql in replaced.items())
    return f"SELECT e.* REPLACE ({columns}), {unrated} AS {UNRATED} FROM ({rows}) e {join}"


def sign_refund(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a canonical purchase with a refund as money back, whatever its sign.

    Examples:
        >>> sign_refund({"kind": "refund", "amount": Decimal(5), "quantity": Decimal(1)})["amount"]
        Decimal('-5')
    """
    if row.get("kind") != REFUND or not row["amount"] > 0:
        return row
    return {**row, **{column: -row[column] for column in SIGNED if isinstance(row.get(column), Decimal | int)}}


def sign_refunds(rows: str, table: str) -> str:
    """Return SQL of canonical rows, with refunds as money back; rows of other tables stay as they are."""
    if table != "purchases":
        return rows
    is_back = f"kind = '{REFUND}' AND amount > 0"
    columns = ", ".join(f"CASE WHEN {is_back} THEN -{column} ELSE {column} END AS {column}" for column in SIGNED)
    return f"SELECT * REPLACE ({columns}) FROM ({rows})"


def list_currencies(settings: Settings, table: str) -> str | None:
    """Return SQL of the currencies of a table and the number of rows of each; None where none is mapped."""
    if table not in MONEY or "currency" not in settings.tables[table].columns:
        return None
    return (
        f"SELECT upper(currency), count(*) FROM main.{table} WHERE currency IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    )
