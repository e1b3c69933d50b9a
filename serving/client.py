"""A thin client of the HTTP service; its answers are the service's own types."""

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
MAX_RETRY_AFTER = 10.0  # seconds; who is told to stay away for longer hears of it at once

_WAITED_OUT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_log = logging.getLogger("garrison.client")
Answer = TypeVar("Answer", bound=BaseModel)
Row = Mapping[str, Any]


class AnswerError(GarrisonError):
    """The service answered with an error.

    Attributes:
        status: HTTP status.
        code: The envelope's code, such as `no_key`.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Client:
    """Asks a running service; close it, or use it as a context.

    Every question may be asked twice without harm, so a question is asked up to three times: after a connection that
    failed or broke, and after 429 or 503 where Retry-After asks for 10 seconds at most. Each time is logged as a
    warning. A timeout is not tried again: the work would pile up.

    Args:
        url: Where it listens.
        key: As `python -m serving key create` printed it.
        timeout: Seconds to wait for an answer.
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
            accounts: Each an account id, or `{"account": {…}, "tickets": […], "usage": […], "purchases": […]}` in
                the columns of the data contract.
            as_of: Where to look from; by default the newest snapshot for ids, now for histories.
            detail: How much to tell: the probabilities alone, what they mean besides, or why as well.

        Returns:
            One result for each, in their order: `Scored`, or `Failed` with its error.

        Raises:
            GarrisonError: The service can't be reached, or refuses the request as a whole.
        """
        body: dict[str, Any] = {"accounts": list(accounts), "detail": detail}
        if as_of is not None:
            body["as_of"] = as_of.isoformat() if isinstance(as_of, datetime) else as_of
        return self._asked(ScoreResponse, "POST", "/v1/score", json=body)

    def account(self, account_id: str) -> AccountResponse:
        """One account's scores, with those of before.

        Raises:
            AnswerError: There is no such account (404), among others.
        """
        return self._asked(AccountResponse, "GET", f"/v1/accounts/{quote(account_id, safe='')}")

    def model(self) -> ModelsResponse:
        """The models that score now."""
        return self._asked(ModelsResponse, "GET", "/v1/model")

    def send(
        self, *, tickets: Sequence[Row] = (), usage: Sequence[Row] = (), purchases: Sequence[Row] = ()
    ) -> EventsResponse:
        """Send events as they happen, up to 1,000 at a time; each is taken once, however often it is sent.

        Args:
            tickets: Rows in the columns of the data contract.
            usage: The same, each with an `event_id` of its own.
            purchases: The same.

        Returns:
            What became of each; all that is accepted is on disk.

        Raises:
            GarrisonError: The service can't be reached, or refuses them as a whole: none was taken.
        """
        tables = {"tickets": tickets, "usage": usage, "purchases": purchases}
        body = {table: list(rows) for table, rows in tables.items() if rows}
        return self._asked(EventsResponse, "POST", "/v1/events", json=body)

    def healthy(self) -> bool:
        """Whether it is there and ready to score; asked once."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    def _asked(self, kind: type[Answer], method: str, path: str, **rest: Any) -> Answer:
        response = self._answered(method, path, **rest)
        try:
            if response.is_success:
                return kind.model_validate_json(response.content)
            said = ErrorResponse.model_validate_json(response.content).error
        except ValidationError:
            there = f"HTTP {response.status_code}"
            raise GarrisonError(f"{self._http.base_url} is not Garrison's service", found=there) from None
        raise AnswerError(response.status_code, said.code, said.message)

    def _answered(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """An answer, waited out and asked for again where that is safe."""
        for tried in range(1, MAX_TRIES + 1):
            last = tried == MAX_TRIES
            try:
                response = self._http.request(method, path, **rest)
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                if last:
                    raise self._silence(error) from error
                _wait(0.1 * 2**tried, type(error).__name__)
            except httpx.HTTPError as error:
                raise self._silence(error) from error
            else:
                after = _retry_after(response)
                if last or after is None:
                    return response
                _wait(after, f"HTTP {response.status_code}")
        raise AssertionError  # the last turn answers or raises

    def _silence(self, error: httpx.HTTPError) -> GarrisonError:
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


def _wait(seconds: float, why: str) -> None:
    _log.warning("asking again in %s s: %s", seconds, why)
    time.sleep(seconds)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds after which the service wants to be asked again; None where it doesn't, or not soon."""
    after = response.headers.get("retry-after", "")
    if response.status_code not in _WAITED_OUT or not (after.isascii() and after.isdigit()):
        return None
    seconds = float(after[:9])
    return seconds if seconds <= MAX_RETRY_AFTER else None
