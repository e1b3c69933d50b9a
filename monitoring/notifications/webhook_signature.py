"""Sign webhooks as the Standard Webhooks specification says, so that receivers can verify them with a ready library.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from features.core.errors import GarrisonError

_PREFIX = "whsec_"
_SHORTEST = 24  # bytes, as the specification asks


def parse_secret(text: str) -> bytes:
    """Return the key in a secret such as `whsec_` and base64; any other text is the key itself.

    Raises:
        GarrisonError: It is not base64, or shorter than 24 bytes.
    """
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else text.encode()
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _SHORTEST:
        raise GarrisonError(
            "the secret of alerts.webhook is too short, or not base64 after whsec_",
            found=f"{len(key)} bytes",
            hint="Make one, such as with `openssl rand -base64 32`, and write whsec_ before it",
        )
    return key


def sign(key: bytes, message: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers that let the receiver verify a request.

    Args:
        key: As `parse_secret` returns it.
        message: Its id, the same each time that it is sent.
        timestamp: Of this try, in seconds since 1970.
        body: As it is sent.
    """
    signed = b".".join((message.encode(), str(timestamp).encode(), body))
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {"webhook-id": message, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}
