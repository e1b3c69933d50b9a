"""dlt: requests to a system, and the Parquet files that they fill."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import sqlalchemy as sa

from features.core.errors import GarrisonError, SettingsError
from features.core.progress import Progress
from features.loading.endpoints import Endpoint, list_endpoints
from features.loading.received import fold_tables
from features.loading.refusals import explain_errors
from features.settings import LoadedSystem, LoadingSettings
from features.state.locks import Lock, try_lock

# dlt's log of all that was received, and its own work, beside the tables; sources don't read folders with a _.
_RECEIVED, _WORK = "_received", "_work"
# dlt reports each run to its maker unless it is told not to; retries wait no longer than this at once.
_RUNTIME = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "CRITICAL",
    "RUNTIME__REQUEST_MAX_RETRY_DELAY": "120",
}


@dataclass(frozen=True)
class LoadedRows:
    """What one table has now.

    Args:
        system: Name of the system.
        table: Name of the table.
        fetched: Rows that came this time; None for what was nested in another table's rows.
        rows: Rows in all.
        folder: Where its file lies: the path of a source.
    """

    system: str
    table: str
    fetched: int | None
    rows: int
    folder: Path


def load_system(settings: LoadingSettings, name: str, progress: Progress | None = None) -> list[LoadedRows]:
    """Fetch what is new in a system's tables since the last time, and write the tables.

    A load that is cut off leaves the tables as they were; the next one fetches again what that one had not ended.

    Args:
        settings: Of loading.
        name: Of the system.
        progress: Called as each table is fetched.

    Raises:
        SettingsError: dlt is not installed, a secret is not set, or a request would go elsewhere than allowed.
        SourceError: The system refuses the secret, does not know a path, or does not answer.
        GarrisonError: Another load of the system is under way.
    """
    system, folder = settings.load[name], settings.folder / name
    endpoints = list_endpoints(name, system)
    secret = _read_secret(name, system)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = sa.create_engine(f"sqlite:///{folder.absolute() / '_lock.db'}")
    with try_lock(lock, Lock.DESTINATION, of=name) as is_held:
        if not is_held:
            raise GarrisonError(f"load.{name} is under way in another process", hint="Wait for its end")
        # Its progress is kept with the received rows: dlt's own folder may hold a load that was cut off.
        shutil.rmtree(folder / _WORK, ignore_errors=True)
        _remove_torn(folder / _RECEIVED)
        try:
            fetched = _fetch(name, system, secret, endpoints, folder, progress)
        finally:
            shutil.rmtree(folder / _WORK, ignore_errors=True)
        received = folder / _RECEIVED
        rows = fold_tables(received, _list_loads(received), endpoints, folder)
    return [LoadedRows(name, table, fetched.get(table), count, folder / table) for table, count in rows.items()]


def _read_secret(name: str, system: LoadedSystem) -> str | None:
    variable = system.secret_env
    secret = os.environ.get(variable, "").strip() if variable else None
    if variable and not secret:
        raise SettingsError(
            f"load.{name} needs the environment variable {variable} (load.{name}.secret_env)",
            found="it is not set",
            hint=f"export {variable}=…",
        )
    return secret


def _fetch(  # noqa: PLR0913, PLR0917  # one for each part of a load
    name: str,
    system: LoadedSystem,
    secret: str | None,
    endpoints: tuple[Endpoint, ...],
    folder: Path,
    progress: Progress | None,
) -> dict[str, int]:
    """Fetch the tables one after the other, each a load of its own; return the number of rows of each."""
    os.environ.update(_RUNTIME | {"DLT_DATA_DIR": str((folder / _WORK).absolute())})
    try:
        import dlt
        from dlt.destinations import filesystem
        from dlt.sources.rest_api import rest_api_source
    except ImportError as error:
        hint = "pip install 'garrison[load]'"
        raise SettingsError("loading needs dlt", found=str(error), hint=hint) from error
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{system.base}/",
                "auth": _authenticate(system, secret),
                "session": _open_session(name, system),
                "headers": {"Accept": "application/json"},
            },
            "resources": [_describe(endpoint, system) for endpoint in endpoints],
        },
        name=name,
    )
    pipeline = dlt.pipeline(
        pipeline_name=f"garrison_{name}",
        destination=filesystem(bucket_url=folder.absolute().as_uri()),
        dataset_name=_RECEIVED,
        pipelines_dir=str((folder / _WORK).absolute()),
    )
    fetched = dict[str, int]()
    for endpoint in endpoints:
        if progress:
            progress(f"{name} {endpoint.name}")
        with explain_errors(name, system, endpoint):
            disposition = "append" if endpoint.cursor else "replace"
            pipeline.run(
                source.with_resources(endpoint.name), loader_file_format="parquet", write_disposition=disposition
            )
        fetched[endpoint.name] = pipeline.last_trace.last_normalize_info.row_counts.get(endpoint.name, 0)
    return fetched


def _authenticate(system: LoadedSystem, secret: str | None) -> Any:
    if secret is None:
        return None
    if system.auth == "basic":
        return {"type": "http_basic", "username": system.user, "password": secret}
    if system.auth == "header":
        return {"type": "api_key", "name": system.header, "api_key": secret, "location": "header"}
    return {"type": "bearer", "token": secret}


def _open_session(name: str, system: LoadedSystem) -> requests.Session:
    """Return a session that waits and tries again as the system asks, and goes nowhere but where it may."""
    from dlt.sources.helpers.requests.retry import Client

    class GuardedAdapter(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            if not system.allows(str(request.url)):
                host = urlsplit(str(request.url)).hostname
                raise SettingsError(
                    f"load.{name}: a request would go to {host}, which is not allowed",
                    hint=f'If it belongs to the system: load.{name}.allow = ["{host}"]',
                )
            return super().send(request, *args, **kwargs)

    session: requests.Session = Client(raise_for_status=False, request_max_retry_delay=120).session
    for scheme in ("https://", "http://"):
        session.mount(scheme, GuardedAdapter())
    return session


def _describe(endpoint: Endpoint, system: LoadedSystem) -> dict[str, Any]:
    """Return a table as dlt's REST source takes it."""
    request: dict[str, Any] = {
        "path": endpoint.path,
        "params": dict(endpoint.params),
        "data_selector": endpoint.rows,
        "paginator": _paginate(endpoint),
    }
    if endpoint.body is not None:
        request |= {"method": "POST", "json": dict(endpoint.body)}
    if endpoint.cursor:
        request["incremental"] = {
            "cursor_path": endpoint.cursor,
            "initial_value": endpoint.start(system.since),
            "convert": endpoint.convert,
            "on_cursor_value_missing": "include",
            "lag": endpoint.again.total_seconds() or None,
        }
    steps = [{"map": endpoint.lift}] if endpoint.inside else []
    key = list(endpoint.key) or None
    return {"name": endpoint.name, "primary_key": key, "endpoint": request, "processing_steps": steps}


def _paginate(endpoint: Endpoint) -> Any:
    from dlt.sources.helpers.rest_client import paginators

    from features.loading import paginators as own

    pages = endpoint.pages
    made: dict[str, Callable[[], Any]] = {
        "single": paginators.SinglePagePaginator,
        "link_header": paginators.HeaderLinkPaginator,
        "next_url": lambda: paginators.JSONLinkPaginator(next_url_path=pages.next),
        "next_token": lambda: paginators.JSONResponseCursorPaginator(
            cursor_path=pages.next, cursor_param=pages.parameter, has_more_path=pages.more
        ),
        "page": lambda: paginators.PageNumberPaginator(base_page=1, page_param=pages.parameter, total_path=None),
        "offset": lambda: paginators.OffsetPaginator(
            limit=pages.size, offset_param=pages.parameter, limit_param=pages.size_parameter, total_path=None
        ),
        "zendesk": lambda: own.ExportPaginator(next_url_path=pages.next),
        "hubspot": lambda: own.SearchPaginator(pages.next, endpoint),
    }
    return made[pages.kind]()


def _list_loads(received: Path) -> set[str]:
    """Return the loads that ended: dlt stores where a load got to, and then notes it, after all its rows are there.

    A process that was killed between the two has rows that do not come again, so either is enough.
    """
    return {
        file.stem.split("__")[1] for kind in ("_dlt_pipeline_state", "_dlt_loads") for file in _list(received, kind)
    }


def _remove_torn(received: Path) -> None:
    """Remove notes of dlt that a killed process had not written to their end."""
    for file in [
        file for kind in ("_dlt_pipeline_state", "_dlt_loads", "_dlt_version") for file in _list(received, kind)
    ]:
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            file.unlink()


def _list(received: Path, kind: str) -> list[Path]:
    return sorted(received.glob(f"{kind}/*__*.jsonl"))
