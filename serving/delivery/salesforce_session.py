"""Sign and retry the HTTP requests that simple-salesforce makes."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests

from features.settings import Settings
from serving.delivery.crm_client import read_secret
from serving.delivery.destination import StoppedError
from serving.delivery.retries import RetryPolicy

_TIMEOUT = 120  # seconds for one request


class SalesforceSession(requests.Session):
    """A session that retries while Salesforce is busy, and logs in again once when a token has expired."""

    def __init__(self, url: str, settings: Settings, retries: RetryPolicy) -> None:
        super().__init__()
        self._url, self._salesforce, self._retries = url, settings.crm.salesforce, retries
        self._token = ""
        self.auth = self._signed  # this also keeps requests from looking for a password in ~/.netrc

    def login(self) -> None:
        """Take the token from the environment, or fetch one for the client id and secret.

        Raises:
            StoppedError: Salesforce refuses them.
        """
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
        response = self._retry("POST", f"{self._url}/services/oauth2/token", data=form)
        try:
            self._token = str(response.json()["access_token"])
        except (ValueError, KeyError, TypeError):
            raise StoppedError(
                "Salesforce does not let us in", found=f"HTTP {response.status_code}: {_description(response)}"
            ) from None

    # The whole signature is that of requests.
    def request(self, method: Any, url: Any, *args: Any, **rest: Any) -> requests.Response:
        """Send a request to the instance; log in again once where the token has expired."""
        if urlsplit(self._url).scheme == "http":
            # simple-salesforce knows https alone; a loopback address has none.
            url = url.replace("https://", "http://", 1)
        response = self._retry(method, url, *args, **rest)
        if response.status_code == requests.codes.unauthorized:
            self.login()
            response = self._retry(method, url, *args, **rest)
        response.encoding = "utf-8"  # results come without a charset
        return response

    def _retry(self, method: str, url: str, *args: Any, **rest: Any) -> requests.Response:
        rest = {"timeout": _TIMEOUT, "allow_redirects": False} | rest
        send = super().request
        return self._retries.request(
            "Salesforce", lambda: send(method, url, *args, **rest), (requests.RequestException,)
        )

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _description(response: requests.Response) -> str:
    try:
        return str(response.json().get("error_description", ""))[:200]
    except (ValueError, AttributeError):
        return ""
