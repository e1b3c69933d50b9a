"""Read the e-mail addresses of people, as systems export them."""

from __future__ import annotations

import re
from email.utils import parseaddr

# What a browser accepts as one e-mail address (HTML standard, "valid e-mail address"): no display name, no
# list, no quoting, no route, and so no way to smuggle in a second recipient.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_SCHEME = re.compile(r"\s*mailto:\s*", re.IGNORECASE)
_MOST = 254
# Also the separators that people put between two addresses in one field.
_SEPARATORS = re.compile(r"[;,\s/|]+")


def parse_address(text: str | None) -> str | None:
    """Return the one e-mail address that a text holds, or None if it holds none or several.

    `Jane Doe <jane@example.com>` and `MAILTO:jane@example.com` are read too; the name is dropped.
    """
    plain = _SCHEME.sub("", text or "", count=1).strip()
    if _is_plain(plain):
        return plain
    if plain.endswith(">") and plain.count("<") == plain.count(">") == 1:
        inner = _SCHEME.sub("", plain[plain.index("<") + 1 : -1], count=1).strip()
        # The name in front may hold no second address, and no line break that would forge a header.
        outer = plain[: plain.index("<")]
        return inner if _is_plain(inner) and "@" not in outer and parseaddr(plain)[1] == inner else None
    return None


def describe_fault(text: str | None) -> str | None:
    """Say why a text is no address that can be used; None if it is one."""
    if parse_address(text) is not None:
        return None
    plain = (text or "").strip()
    if not plain:
        return "it has no owner"
    if plain.count("@") > 1 and sum(parse_address(part) is not None for part in _SEPARATORS.split(plain)) > 1:
        return "its owner is several addresses in one field"
    if "@" not in plain:
        return "its owner is a name or an id, no e-mail address"
    return "its owner's e-mail address can't be read"


def _is_plain(text: str) -> bool:
    return len(text) <= _MOST and _ADDRESS.fullmatch(text) is not None
