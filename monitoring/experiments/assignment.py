"""Draw lots by a keyed hash: the same for a family of accounts in every run and on every machine."""

from __future__ import annotations

import hashlib


def draw_lot(unit: str, *, experiment: str, purpose: str) -> float:
    """Draw the lot of a unit, in [0, 1).

    Args:
        unit: The id of the topmost account of a family: its members share their lot.
        experiment: Name of the experiment; another one draws anew.
        purpose: Such as holdout or lottery: what it decides is independent of other purposes.
    """
    key = hashlib.sha256(f"{experiment}\x1f{purpose}".encode()).digest()
    digest = hashlib.blake2b(unit.encode(), key=key, digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
