"""Who is who: the account behind the id that a help desk, a product or a billing system uses."""

from __future__ import annotations

from features.sources import text


def account(external: str, system: str) -> str:
    """SQL of the account behind an external id in one system; null where `identities` doesn't know it."""
    return (
        f"(SELECT i.account_id FROM main.identities i WHERE i.system = {text(system)} AND i.external_id = {external})"
    )


# An id that names two accounts is a conflict: none of its rows is believed, for either would be a guess.
CONFLICT = "count(DISTINCT account_id) OVER (PARTITION BY system, external_id) > 1"
