"""What went wrong in a request, as an error that names the setting and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests

from features.core.errors import GarrisonError, SourceError
from features.loading.endpoints import Endpoint
from features.settings import LoadedSystem

_LATER = "Run it again later: what was fetched of other tables is kept"


@contextmanager
def explain_errors(name: str, system: LoadedSystem, endpoint: Endpoint) -> Iterator[None]:
    """Turn an error from inside dlt into one of ours.

    Args:
        name: Of the system.
        system: Its settings.
        endpoint: The table that is fetched.
    """
    place = f"load.{name}"
    try:
        yield
    except Exception as error:
        causes = list(_walk(error))
        for cause in causes:
            if isinstance(cause, GarrisonError):
                raise cause from None
        for cause in causes:
            if isinstance(cause, requests.HTTPError) and cause.response is not None:
                raise _describe_refusal(place, system, endpoint, cause.response) from None
        for cause in causes:
            if isinstance(cause, requests.RequestException) and not isinstance(cause, requests.JSONDecodeError):
                problem = f"{place}: {urlsplit(system.base).hostname} does not answer for {endpoint.name}"
                hint = f"See that this machine reaches it. {_LATER}"
                raise SourceError(problem, found=type(cause).__name__, hint=hint) from None
        lines = str(causes[-1]).strip().splitlines()
        problem = f"{place}: {endpoint.name} can't be read as its protocol says"
        hint = f"See {place}.url, and the paths of its tables"
        raise SourceError(problem, found=lines[0] if lines else type(error).__name__, hint=hint) from error


def _describe_refusal(place: str, system: LoadedSystem, endpoint: Endpoint, response: requests.Response) -> SourceError:
    found, variable = f"{response.status_code} {response.reason} for {endpoint.path}", system.secret_env
    if response.status_code in {401, 403}:
        problem = f"{place}: the system refuses the secret of {variable}" if variable else f"{place}: it wants a secret"
        renew = f"make a new one, and export {variable}=…" if variable else f"name its variable: {place}.secret_env"
        hint = f"It may have ended, or may not read {endpoint.name}: {renew}"
    elif response.status_code == 404:
        problem = f"{place}: the system has no {endpoint.name}"
        hint = f"Correct {place}.url or the path, or name the tables that it has: {place}.only"
    elif response.status_code == 429:
        problem, hint = f"{place}: the system allows no more requests now", _LATER
    else:
        problem, hint = f"{place}: the system does not give {endpoint.name}", _LATER
    return SourceError(problem, found=found, hint=hint)


def _walk(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it came of."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
