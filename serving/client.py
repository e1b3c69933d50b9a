"""Sends requests to the HTTP service and returns its responses as typed models."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from features.core.errors import GarrisonError
from serving.schemas.errors import ErrorResponse
from serving.schemas.responses import AccountResponse, Detail, EventsResponse, ModelsResponse, ScoreResponse

DEFAULT_URL = "http://127.0.0.1:3000"
MAX_TRIES = 3
MAX_RETRY_AFTER = 10.0  # seconds; if the service asks for more, its error is raised at once

_RETRIED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_log = logging.getLogger("garrison.client")
Response = TypeVar("Response", bound=BaseModel)
Row = Mapping[str, Any]


class AnswerError(GarrisonError):
    """An error that the service returned.

    Attributes:
        status: HTTP status.
        code: The error's code, such as `no_key`.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Client:
    """A client of a running service; close it, or use it as a context manager.

    Every request may be repeated without harm, so it is sent up to three times: after a connection that failed or
    broke, and after 429 or 503 if Retry-After asks for 10 seconds at most. Each retry is logged as a warning. A request
    that timed out is not repeated: the work would pile up.

    Args:
        url: Address of the service.
        key: As `python -m serving key create` printed it.
        timeout: Seconds to wait for an answer, `0 < timeout`.
    """

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None, *, timeout: float = 30.0) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def score(
        self,
        accounts: Sequence[str | Row],
        *,
        as_of: datetime | str | None = None,
        detail: Detail = "drivers",
    ) -> ScoreResponse:
        """Score accounts by id, or from their histories.

        Args:
            accounts: 1 to 100, each an account id, or a history as `{"account": {…}, "tickets": […], "usage": […],
                "purchases": […]}` in the columns of the data contract.
            as_of: The instant to look from; by default the newest snapshot for ids, now for histories.
            detail: How much the response holds: `scores` for probabilities alone, `advice` for what they mean as
                well, `drivers` for their reasons too.

        Returns:
            A result for each account, in the same order: `AccountScores`, or `FailedAccount` with its error.

        Raises:
            GarrisonError: The service can't be reached, or rejects the request as a whole.

        Example:
            >>> with Client(url, key) as client:
            ...     known, unknown = client.score(["A-1001", "A-1002"]).results
            >>> known.scores["churn_90d"].score
            0.41
            >>> known.scores["churn_90d"].drivers[0].text
            'usage fell 62% against the month before'
            >>> unknown.error.code
            'unknown_account'
        """
        body: dict[str, Any] = {"accounts": list(accounts), "detail": detail}
        if as_of is not None:
            body["as_of"] = as_of.isoformat() if isinstance(as_of, datetime) else as_of
        return self._request(ScoreResponse, "POST", "/v1/score", json=body)

    def account(self, account_id: str) -> AccountResponse:
        """Return one account's scores and its stored scores.

        Raises:
            AnswerError: There is no such account (404), among others.
        """
        return self._request(AccountResponse, "GET", f"/v1/accounts/{quote(account_id, safe='')}")

    def model(self) -> ModelsResponse:
        """Return the models that score now."""
        return self._request(ModelsResponse, "GET", "/v1/model")

    def send(
        self, *, tickets: Sequence[Row] = (), usage: Sequence[Row] = (), purchases: Sequence[Row] = ()
    ) -> EventsResponse:
        """Send events as they happen, up to 1,000 at a time; each is stored once, however often it is sent.

        Args:
            tickets: Rows in the columns of the data contract.
            usage: Likewise, each with an `event_id` of its own.
            purchases: Likewise, each with an `event_id` of its own.

        Returns:
            The status of each; what is accepted is on disk.

        Raises:
            GarrisonError: The service can't be reached, or rejects all of them: none was stored.
        """
        tables = {"tickets": tickets, "usage": usage, "purchases": purchases}
        body = {table: list(rows) for table, rows in tables.items() if rows}
        return self._request(EventsResponse, "POST", "/v1/events", json=body)

    def healthy(self) -> bool:
        """Check that the service can be reached and can score, without a retry."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    def _request(self, model: type[Response], method: str, path: str, **options: Any) -> Response:
        """Send a request, and return its response as a model."""
        response = self._send_with_retries(method, path, **options)
        try:
            if response.is_success:
                return model.model_validate_json(response.content)
            error = ErrorResponse.model_validate_json(response.content).error
        except ValidationError:
            raise GarrisonError(
                f"{self._http.base_url} is not Garrison's service",
                found=f"HTTP {response.status_code}",
                hint="Check the address",
            ) from None
        raise AnswerError(response.status_code, error.code, error.message)

    def _send_with_retries(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again after a broken connection or a wait that the service asks for."""
        for attempt in range(1, MAX_TRIES + 1):
            is_last = attempt == MAX_TRIES
            try:
                response = self._http.request(method, path, **options)
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                if is_last:
                    raise self._no_answer_error(error) from error
                _wait(0.1 * 2**attempt, type(error).__name__)
            except httpx.HTTPError as error:
                raise self._no_answer_error(error) from error
            else:
                seconds = _read_retry_after(response)
                if is_last or seconds is None:
                    return response
                _wait(seconds, f"HTTP {response.status_code}")
        raise AssertionError  # the last attempt returns or raises

    def _no_answer_error(self, error: httpx.HTTPError) -> GarrisonError:
        return GarrisonError(
            f"no answer from {self._http.base_url}",
            found=str(error) or type(error).__name__,
            hint="Start the service: make serve",
        )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait(seconds: float, reason: str) -> None:
    _log.warning("retrying in %s s: %s", seconds, reason)
    time.sleep(seconds)


def _read_retry_after(response: httpx.Response) -> float | None:
    """Return the seconds to wait before a retry; None if the service does not ask for one, or not soon."""
    text = response.headers.get("retry-after", "")
    if response.status_code not in _RETRIED or not (text.isascii() and text.isdigit()):
        return None
    seconds = float(text[:9])
    return seconds if seconds <= MAX_RETRY_AFTER else None
