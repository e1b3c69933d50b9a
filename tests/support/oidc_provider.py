"""A real OpenID Connect provider on a free port of this machine, with faults on demand.

Its authorize page asks nobody: it signs in `person` and sends the browser back at once.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.support.ports import find_free_port
from tests.support.waiting import wait_until

CLIENT, SECRET = "garrison", "a secret of the client"


class OidcProvider:
    """The provider.

    Args:
        port: That it listens on.
    """

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.person: dict[str, Any] = {"email": "a@owners.test", "email_verified": True, "groups": []}
        # Claims of the token, or parameters on the way back, in place of the right ones.
        self.claims: dict[str, Any] = {}
        self.back: dict[str, str] = {}
        self.metadata: dict[str, Any] = {}
        # Seconds after which a code is too old.
        self.code_seconds = 60.0
        self.requests: list[str] = []
        self._codes: dict[str, dict[str, Any]] = {}
        self.rotate()
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discover),
                Route("/authorize", self._authorize),
                Route("/token", self._exchange, methods=["POST"]),
                Route("/keys", self._list_keys),
            ]
        )

    def rotate(self) -> None:
        """Sign by a new key from now on."""
        self._key = ECKey.generate_key("P-256", {"use": "sig", "kid": secrets.token_hex(4)}, private=True)
        self._signer = self._key

    def forge(self) -> None:
        """Sign by a key that nobody published, under the name of the right one."""
        self._signer = ECKey.generate_key("P-256", {"use": "sig", "kid": self._key.kid}, private=True)

    async def _discover(self, _: Request) -> Response:
        self.requests.append("discover")
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                **self.metadata,
            }
        )

    async def _authorize(self, request: Request) -> Response:
        asked = request.query_params
        if asked["client_id"] != CLIENT or asked["code_challenge_method"] != "S256" or "openid" not in asked["scope"]:
            return JSONResponse({"error": "invalid_request"}, status_code=400)
        code = secrets.token_urlsafe(16)
        self._codes[code] = {**asked, "at": time.monotonic()}
        back = {"code": code, "state": asked["state"], **self.back}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", status_code=302)

    async def _exchange(self, request: Request) -> Response:
        form = await request.form()
        asked = self._codes.pop(str(form.get("code")), None)
        client = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(str(form.get("code_verifier")).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if request.headers.get("authorization") != f"Basic {client}":
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        is_old = asked is not None and time.monotonic() - asked["at"] > self.code_seconds
        if asked is None or is_old or asked["code_challenge"] != challenge:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        if asked["redirect_uri"] != form.get("redirect_uri"):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "1",
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.person,
            **self.claims,
        }
        token = jwt.encode({"alg": "ES256", "kid": self._key.kid}, claims, self._signer)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": token})

    async def _list_keys(self, _: Request) -> Response:
        self.requests.append("keys")
        return JSONResponse(KeySet([self._key]).as_dict(private=False))


@contextlib.contextmanager
def serve_app(app: Any, port: int) -> Iterator[None]:
    """Serve an application on a port of this machine, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        thread.join(10)


@contextlib.contextmanager
def run_provider() -> Iterator[OidcProvider]:
    """Run a provider."""
    port = find_free_port()
    provider = OidcProvider(port)
    with serve_app(provider.app, port):
        yield provider
