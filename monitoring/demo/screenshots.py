"""Takes screenshots of the demo's pages with an installed Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# No browser of the demo's asks anything of the network, nor writes into the user's own profile.
_QUIET = (
    "--headless",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
_PATIENCE = 60  # seconds


def find_browser() -> str | None:
    """Return the path of an installed Chromium or Chrome, None without one."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def take_screenshot(browser: str, page: Path, image: Path, *, width: int, height: int) -> bool:
    """Write what a browser shows of a page as PNG; return whether it could.

    Args:
        browser: Its path.
        page: An HTML file.
        image: Where to write; its folder is made.
        width: Of the window, in CSS pixels.
        height: Of the window, in CSS pixels; what lies below is cut off.
    """
    image.parent.mkdir(parents=True, exist_ok=True)
    image.unlink(missing_ok=True)
    as_root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(prefix="garrison-browser-", ignore_cleanup_errors=True) as profile:
        command = [browser, *_QUIET, *as_root, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        command += [f"--screenshot={image.absolute()}", page.absolute().as_uri()]
        try:
            subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603  # our own pages
        except (OSError, subprocess.TimeoutExpired):
            return False
    return image.exists()
