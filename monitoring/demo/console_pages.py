"""Look at the demo's console as a manager does, and keep the pages that it shows."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from features.core.errors import GarrisonError

_PATIENCE = 60  # seconds until it answers


def wait_until_healthy(http: httpx.Client, log: Path) -> None:
    """Wait until the console answers.

    Raises:
        GarrisonError: It does not within a minute.
    """
    began = time.monotonic()
    while time.monotonic() - began < _PATIENCE:
        with contextlib.suppress(httpx.TransportError):
            if http.get("/healthz").status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise GarrisonError("the console did not answer within a minute", found=f"see {log}")


def sign_in(http: httpx.Client, link: str) -> None:
    """Sign in by a one-time link, as a browser does: open it, press its button.

    Raises:
        GarrisonError: The link does not sign in.
    """
    path = urlsplit(link).path
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', http.get(path).text)
    answer = http.post(path, data={"csrf": token[1] if token else ""})
    if answer.status_code != httpx.codes.SEE_OTHER:
        raise GarrisonError("the console's one-time link does not sign in", found=f"HTTP {answer.status_code}")


def list_pages(http: httpx.Client) -> list[str]:
    """Return the paths of the pages that the person may go to, as the bar has them."""
    return re.findall(r'<li><a href="(/[a-z]+)"', http.get("/me").text)


def keep_pages(http: httpx.Client, paths: dict[str, str], folder: Path) -> Iterator[Path]:
    """Keep pages as files that show without the console; yields each.

    Args:
        http: A browser that is signed in.
        paths: Of the pages, by the name of their file.
        folder: Where to write.

    Raises:
        GarrisonError: The console does not show one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "console.css").write_bytes(http.get("/static/console.css").content)
    for name, path in paths.items():
        answer = http.get(path)
        if answer.status_code != httpx.codes.OK:
            raise GarrisonError(f"the console does not show {path}", found=f"HTTP {answer.status_code}")
        file = folder / f"{name}.html"
        page = answer.text.replace('href="/static/console.css"', 'href="console.css"')
        # A kept page does nothing: its forms would go nowhere.
        page = re.sub(r"<script[^>]*></script>|<link rel=\"icon\"[^>]*>", "", page)
        page = re.sub(r'name="csrf" value="[0-9a-f]+"', 'name="csrf" value=""', page)
        file.write_text(page, encoding="utf-8")
        yield file
