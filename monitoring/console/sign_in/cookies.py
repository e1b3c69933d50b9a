"""Name and set the console's cookies: with TLS bound to the host by their name, on this machine's http by another."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import Response


@dataclass(frozen=True)
class Cookie:
    """A cookie that holds a random token.

    Args:
        purpose: Part of its name.
        is_secure: Whether the console is reached by https. Over http, which only this machine speaks, browsers take no
            `__Host-` cookies, so they are named `garrison-development-…`.
        same_site: `strict`, or `lax` where the person comes back from another site.
    """

    purpose: str
    is_secure: bool
    same_site: str = "lax"

    @property
    def name(self) -> str:
        """Return the cookie's name."""
        return f"__Host-garrison-{self.purpose}" if self.is_secure else f"garrison-development-{self.purpose}"

    def read(self, request: HTTPConnection) -> str | None:
        """Return its token; None without one."""
        return request.cookies.get(self.name) or None

    def build(self, token: str, *, seconds: int | None = None) -> str:
        """Return the value of a Set-Cookie header.

        Args:
            token: Random; "" removes the cookie.
            seconds: For how long the browser keeps it; by default until it is closed.
        """
        age = "; Max-Age=0" if not token else "" if seconds is None else f"; Max-Age={seconds}"
        secure = "; Secure" if self.is_secure else ""
        return f"{self.name}={token}; Path=/; HttpOnly; SameSite={self.same_site.capitalize()}{secure}{age}"

    def set(self, response: Response, token: str, *, seconds: int | None = None) -> None:
        """Set it with an answer."""
        response.headers.append("set-cookie", self.build(token, seconds=seconds))

    def remove(self, response: Response) -> None:
        """Remove it with an answer."""
        self.set(response, "")
