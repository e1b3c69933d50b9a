"""Print one row of the scores and one letter of a demo, as a customer would read them."""

from __future__ import annotations

import textwrap
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.demo.stories import FOLDER

if TYPE_CHECKING:  # pandas is slow to import
    import pandas as pd

LETTER = FOLDER / "letter.html"


def show_row(row: pd.Series, file: str) -> None:
    """Print one account's row of the scores, a column a line."""
    print(f"One row of {file}, the account with the highest {row.index[2]}:\n")
    for column, value in row.dropna().items():
        text = f"{value:,.3f}" if isinstance(value, float) else str(value)
        print(f"    | {column:<20}{textwrap.shorten(text, 54, placeholder=' …')}")


def show_mail(folder: Path) -> Path | None:
    """Print one letter about an account as its owner reads it, and write its page; returns the page's file."""
    messages = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in sorted(folder.glob("*.eml"))]
    if not messages:
        print("No message this time: an earlier demo has alerted the owners of all accounts at risk.")
        return None
    print(f"{len(messages)} messages arrived. This is one of them:\n")
    message = next((m for m in messages if str(m["Subject"]).startswith("At risk")), messages[0])
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    lines = [f"To: {message['To']}", f"Subject: {message['Subject']}", "", text.get_content() if text else ""]
    print("\n".join("    | " + line for line in "\n".join(lines).splitlines()))
    if page is None:
        return None
    file = LETTER
    file.write_text(page.get_content(), encoding="utf-8")
    return file
