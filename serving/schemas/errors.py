"""Defines the one shape of every error that the HTTP service returns."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict


class ErrorDetail(BaseModel):
    """One thing that is wrong with a request."""

    model_config = ConfigDict(frozen=True)

    # Path to the value, such as accounts.0.tickets.3.opened_at; empty for the request as a whole.
    at: str
    message: str


class ErrorBody(BaseModel):
    """A code for programs, a sentence for people, and the places of the error."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    details: tuple[ErrorDetail, ...] = ()


class ErrorResponse(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorBody


class ApiError(Exception):
    """An error that is returned to the client.

    Args:
        status: HTTP status.
        code: For programs; stable.
        message: For people, with what to do.
        details: What is wrong, and where.
        headers: To send with it.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        *,
        details: Sequence[ErrorDetail] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = ErrorBody(code=code, message=message, details=tuple(details))
        self.headers = headers or {}
