"""Let only forms of our own pages act: each POST needs the token of its browser, from our own origin."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FIELD = "csrf"
HEADER = "x-csrf-token"
_SAFE = {"GET", "HEAD", "OPTIONS"}
# Links of letters act without a session: their page's signed button is their token.
_SIGNED = "/act/"
# Bytes of a form: notes and topics of 10 kB fit in, files don't.
LARGEST = 65_536
_FIELDS = 200


def derive_token(secret: str) -> str:
    """Return the token of forms, from that of the browser's cookie: it needs no storage, and tells nothing about it."""
    return hmac.new(secret.encode(), b"garrison csrf", hashlib.sha256).hexdigest()


def is_same_origin(headers: Headers, origins: Collection[str]) -> bool:
    """Return whether a request comes from our own pages, as far as the browser says.

    Browsers say `Origin: null` on pages that send no referrer, as ours do; then Sec-Fetch-Site must say it.

    Args:
        headers: Of the request.
        origins: Of the console, such as https://garrison.example.com.
    """
    site, claimed = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if claimed is None:
        return True
    return site is not None if claimed == "null" else claimed in origins


class FormGuard:
    """ASGI middleware that refuses what is too large (413) or not from our forms (403), before a handler sees it.

    Args:
        app: The application behind it.
        origins: Of the console; none take the host that the request names, in tests.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in _SAFE:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = await _read_body(headers, receive)
        if not is_same_origin(headers, self._origins or {f"{scope['scheme']}://{headers.get('host', '')}"}):
            raise HTTPException(403, "form")
        if not scope["path"].startswith(_SIGNED):
            self._check_token(scope, headers, body)
        is_read = False

        async def receive_again() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_again, send)

    @staticmethod
    def _check_token(scope: Scope, headers: Headers, body: bytes) -> None:
        expected: str = scope.get("state", {}).get("csrf", "")
        given = headers.get(HEADER, "")
        if not given and headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            try:
                fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_FIELDS)
            except ValueError:
                raise HTTPException(400) from None
            given = fields.get(FIELD, [""])[0]
        if not (expected and hmac.compare_digest(expected.encode(), given.encode())):
            raise HTTPException(403, "form")


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > LARGEST:
        raise HTTPException(413)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > LARGEST:
            raise HTTPException(413)
        if not message.get("more_body"):
            return bytes(body)
