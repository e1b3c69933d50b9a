"""Read what a request for a list of accounts asks for from its address."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

from serving.schemas.errors import ApiError, ErrorDetail

ORDERS = ("account_id", "risk", "change", "value", "value_at_risk", "tier", "recommendation")
DEFAULT_ORDER, DEFAULT_LIMIT, MOST = "-value_at_risk", 50, 200


@dataclass(frozen=True)
class ListRequest:
    """What is asked for.

    Args:
        order: One of `ORDERS`, with - in front for descending.
        after: What the page before returned; None for the first page.
        limit: Accounts of the page, 1 to `MOST`.
    """

    order: str = DEFAULT_ORDER
    after: str | None = None
    limit: int = DEFAULT_LIMIT


def read_list_request(query: bytes) -> ListRequest:
    """Read a request from the query of its address.

    Raises:
        ApiError: A parameter is unknown, or its value is not allowed (422).
    """
    given = parse_qs(query.decode("utf-8", "replace"))
    if unknown := sorted(set(given) - {"order", "after", "limit"}):
        raise _build_error(unknown[0][:40], "this parameter is unknown")
    last = {name: values[-1] for name, values in given.items()}
    order, limit = last.get("order", DEFAULT_ORDER), last.get("limit", str(DEFAULT_LIMIT))
    if order.removeprefix("-") not in ORDERS:
        raise _build_error("order", f"give one of {', '.join(ORDERS)}, with - in front for descending")
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 5 and 1 <= int(limit) <= MOST):
        raise _build_error("limit", f"give a whole number from 1 to {MOST}")
    return ListRequest(order, last.get("after"), int(limit))


def _build_error(name: str, message: str) -> ApiError:
    details = [ErrorDetail(at=name, message=message)]
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", f"{name}: {message}", details=details)
