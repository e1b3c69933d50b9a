"""A thin client of the HTTP service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from features.errors import GarrisonError

URL = "http://127.0.0.1:3000"


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

    Args:
        url: Where it listens.
        key: As `python -m serving key create` printed it.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, url: str = URL, key: str | None = None, *, timeout: float = 30.0) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def score(
        self,
        accounts: Sequence[str | Mapping[str, Any]],
        *,
        as_of: datetime | str | None = None,
        drivers: bool = True,
    ) -> list[dict[str, Any]]:
        """Score accounts by id, or from their histories.

        Args:
            accounts: Each an account id, or `{"account": {…}, "tickets": […], "usage": […], "purchases": […]}` in
                the columns of the data contract.
            as_of: Where to look from; by default the newest snapshot for ids, now for histories.
            drivers: Whether to explain.

        Returns:
            One result for each, in their order: scores, or an `error`.

        Raises:
            GarrisonError: The service can't be reached, or refuses the request as a whole.
        """
        body: dict[str, Any] = {"accounts": list(accounts), "drivers": drivers}
        if as_of is not None:
            body["as_of"] = as_of.isoformat() if isinstance(as_of, datetime) else as_of
        found: list[dict[str, Any]] = self._asked("POST", "/v1/score", json=body)["results"]
        return found

    def account(self, account_id: str) -> dict[str, Any]:
        """One account's scores, with those of before."""
        return self._asked("GET", f"/v1/accounts/{quote(account_id, safe='')}")

    def model(self) -> dict[str, Any]:
        """The models that score now."""
        return self._asked("GET", "/v1/model")

    def _asked(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **rest)
        except httpx.HTTPError as error:
            raise GarrisonError(
                f"no answer from {self._http.base_url}",
                there=str(error) or type(error).__name__,
                do="Start the service: make serve",
            ) from error
        try:
            answer: dict[str, Any] = response.json()
            if response.is_success:
                return answer
            said = answer["error"]
            refusal = AnswerError(response.status_code, said["code"], said["message"])
        except (ValueError, KeyError, TypeError):
            there = f"HTTP {response.status_code}"
            raise GarrisonError(f"{self._http.base_url} is not Garrison's service", there=there) from None
        raise refusal

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
