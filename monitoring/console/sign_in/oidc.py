"""Sign people in by an OpenID Connect provider: code flow with PKCE, state and nonce. Authlib is met here alone."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.settings.console import Oidc

# Signatures by a key that the provider alone has.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_DISCOVERY = "/.well-known/openid-configuration"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
# Seconds: how long discovery and keys are believed, how long an answer may take, how much clocks may differ.
_FRESH, _PATIENCE, _LEEWAY = 3600, 10, 60


class SignInRefused(GarrisonError):  # noqa: N818  # an answer to the reader, not an error of ours
    """The provider, or what it answered, does not sign the person in."""


@dataclass(frozen=True)
class Identity:
    """Whom the provider vouches for.

    Args:
        address: E-mail address, in lower case.
        groups: As the provider names them.
    """

    address: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Provider:
    """A provider that people are sent to and come back from.

    Args:
        settings: Which, and as which client.
        secret: The client's.
        back: Address that the provider sends people back to.
    """

    settings: Oidc
    secret: str
    back: str
    _cache: dict[str, tuple[float, Any]] = field(default_factory=dict, compare=False)
    _lock: Lock = field(default_factory=Lock, compare=False)

    def build_address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Return where the browser goes to sign in.

        Args:
            state: Comes back with the person.
            nonce: Comes back inside the signed token.
            verifier: Of PKCE; only its hash goes with the browser.

        Raises:
            SignInRefused: The provider can't be reached, or is not the one of the settings.
        """
        metadata = self._discover()
        with self._open_session() as session:
            address, _ = session.create_authorization_url(
                metadata["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        return str(address)

    def fetch_identity(self, code: str, *, nonce: str, verifier: str) -> Identity:
        """Exchange a code for the token that says who the person is, and check it.

        Raises:
            SignInRefused: The code is wrong or too old, or the token is not for us, not of now, or not signed by the
                provider.
        """
        metadata = self._discover()
        try:
            with self._open_session() as session:
                token = session.fetch_token(
                    metadata["token_endpoint"],
                    code=code,
                    code_verifier=verifier,
                    timeout=_PATIENCE,
                    allow_redirects=False,
                )
        except (AuthlibBaseError, requests.RequestException, ValueError) as error:
            raise SignInRefused("the provider did not accept the code", found=_describe(error)) from None
        if not isinstance(token.get("id_token"), str):
            raise SignInRefused("the provider sent no id token")
        return self._read_identity(self._check(token, nonce))

    def _check(self, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        options = {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": self.settings.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        params = {"nonce": nonce, "client_id": self.settings.client_id, "access_token": token.get("access_token")}
        try:
            try:
                decoded = self._decode(token["id_token"])
            except (InvalidKeyIdError, ValueError):  # the provider has a new key
                decoded = self._decode(token["id_token"], fresh=True)
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(leeway=_LEEWAY)
        except (JoseError, ValueError) as error:
            raise SignInRefused("the provider's token can't be accepted", found=_describe(error)) from None
        return dict(claims)

    def _decode(self, token: str, *, fresh: bool = False) -> jwt.Token:
        keys = KeySet.import_key_set(self._fetch("keys", self._discover()["jwks_uri"], fresh=fresh))
        return jwt.decode(
            token, key=keys, registry=JWSRegistry(algorithms=list(_ALGORITHMS), strict_check_header=False)
        )

    def _read_identity(self, claims: Mapping[str, Any]) -> Identity:
        address = parse_address(claims["email"]) if isinstance(claims.get("email"), str) else None
        if address is None or claims.get("email_verified") is False:
            raise SignInRefused("the provider names no verified e-mail address", hint="Let it send the claim email")
        groups = claims.get(self.settings.groups_claim, [])
        groups = [groups] if isinstance(groups, str) else groups
        named = tuple(g for g in groups if isinstance(g, str)) if isinstance(groups, list) else ()
        return Identity(address.lower(), named)

    def _discover(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self._fetch("metadata", self.settings.issuer.rstrip("/") + _DISCOVERY)
        if metadata.get("issuer") != self.settings.issuer:
            raise SignInRefused("the provider names itself otherwise", found=str(metadata.get("issuer"))[:200])
        for name in _ENDPOINTS:
            if not is_safe_address(str(metadata.get(name, ""))):
                raise SignInRefused(f"the provider's {name} is not https", found=str(metadata.get(name))[:200])
        return metadata

    def _fetch(self, name: str, url: str, *, fresh: bool = False) -> Any:
        """Fetch a document, or take the one that was fetched within the hour."""
        with self._lock:
            at, document = self._cache.get(name, (0.0, None))
            if document is not None and not fresh and time.monotonic() - at < _FRESH:
                return document
            try:
                answer = requests.get(url, timeout=_PATIENCE, allow_redirects=False)
                answer.raise_for_status()
                document = answer.json()
            except (requests.RequestException, ValueError) as error:
                raise SignInRefused("the provider can't be reached", found=_describe(error)) from None
            if not isinstance(document, dict):
                raise SignInRefused("the provider's answer can't be read")
            self._cache[name] = (time.monotonic(), document)
            return document

    def _open_session(self) -> OAuth2Session:
        return OAuth2Session(
            self.settings.client_id,
            self.secret,
            scope=" ".join(self.settings.scopes),
            redirect_uri=self.back,
            code_challenge_method="S256",
        )


def open_provider(settings: Oidc | None, origin: str) -> Provider | None:
    """Return the provider of the settings; None without one.

    Args:
        settings: Its settings.
        origin: Where people reach the console.

    Raises:
        GarrisonError: The environment lacks the client's secret.
    """
    if settings is None:
        return None
    secret = os.environ.get(settings.client_secret_env, "")
    if not secret:
        raise GarrisonError(
            "console.oidc.client_secret_env names an environment variable without a secret",
            found=settings.client_secret_env,
            hint="Set it to the secret that the provider gave to this client",
        )
    return Provider(settings, secret, f"{origin}/sign-in/oidc/back")


def is_safe_address(url: str) -> bool:
    """Return whether an address is https, or http on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme != "http" or not parts.hostname:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def _describe(error: Exception) -> str:
    """Name an error without what it carries: answers may hold tokens."""
    return str(getattr(error, "error", "") or type(error).__name__)[:100]
