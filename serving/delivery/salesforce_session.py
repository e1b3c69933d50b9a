"""The HTTP session that simple-salesforce speaks through."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests

from features.settings import Settings
from serving.delivery.crm_client import RetryPolicy, read_secret
from serving.delivery.destination import StoppedError

_TIMEOUT = 120  # seconds for one request


class SalesforceSession(requests.Session):
    """It has patience, and logs in again once when a token has expired."""

    def __init__(self, url: str, settings: Settings, patience: RetryPolicy) -> None:
        super().__init__()
        self._url, self._salesforce, self._patience = url, settings.crm.salesforce, patience
        self._token = ""
        self.auth = self._signed  # also keeps requests from looking for a password in ~/.netrc

    def login(self) -> None:
        """Take the token of the environment, or fetch one for the client id and secret."""
        own = self._salesforce
        if own.token_env:
            self._token = read_secret(own.token_env)
            return
        form = {
            "grant_type": "client_credentials",
            "client_id": read_secret(own.client_id_env),
            "client_secret": read_secret(own.client_secret_env),
        }
        self._token = ""
        answer = self._patient("POST", f"{self._url}/services/oauth2/token", data=form)
        try:
            self._token = str(answer.json()["access_token"])
        except (ValueError, KeyError, TypeError):
            raise StoppedError(
                "Salesforce does not let us in", found=f"HTTP {answer.status_code}: {_said(answer)}"
            ) from None

    # The whole signature is requests' business.
    def request(self, method: Any, url: Any, *args: Any, **rest: Any) -> requests.Response:
        """As requests does it, to the instance alone."""
        if urlsplit(self._url).scheme == "http":
            url = url.replace(
                "https://", "http://", 1
            )  # simple-salesforce knows https alone; a loopback address has none
        answer = self._patient(method, url, *args, **rest)
        if answer.status_code == requests.codes.unauthorized:
            self.login()
            answer = self._patient(method, url, *args, **rest)
        answer.encoding = "utf-8"  # results come without a charset
        return answer

    def _patient(self, method: str, url: str, *args: Any, **rest: Any) -> requests.Response:
        rest = {"timeout": _TIMEOUT, "allow_redirects": False} | rest
        ask = super().request
        return self._patience.answer(
            "Salesforce", lambda: ask(method, url, *args, **rest), (requests.RequestException,)
        )

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _said(answer: requests.Response) -> str:
    try:
        return str(answer.json().get("error_description", ""))[:200]
    except (ValueError, AttributeError):
        return ""
