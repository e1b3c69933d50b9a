from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from features.core.errors import GarrisonError
from features.state import database
from features.state.tables import API_KEYS
from serving.__main__ import app
from serving.api import auth
from tests.support.state_settings import make_state_settings


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[database.Store]:
    with database.open(make_state_settings(f"sqlite:///{tmp_path}/state.db", tmp_path)) as found:
        yield found


@pytest.fixture
def ring(opened: database.Store) -> auth.Keyring:
    return auth.Keyring(opened)


def test_a_key_is_known_by_its_holder_and_stored_only_as_a_hash(opened: database.Store, ring: auth.Keyring) -> None:
    key = auth.create_key(opened, "billing")
    ring.refresh()
    found = ring.find_key(f"Bearer {key}")
    assert found is not None
    assert (found.name, found.scope) == ("billing", "score,read")
    with opened.reading() as connection:
        stored = str(connection.execute(sa.select(API_KEYS)).all())
    assert key.rpartition("_")[2] not in stored


def test_no_two_keys_are_alike(opened: database.Store) -> None:
    assert len({auth.create_key(opened, "same") for _ in range(5)}) == 5


def test_what_is_no_live_key_holds_nothing(opened: database.Store, ring: auth.Keyring) -> None:
    key = auth.create_key(opened, "billing")
    ring.refresh()
    name, _, secret = key.rpartition("_")
    flipped = f"{name}_{secret[:-1]}{'0' if secret[-1] != '0' else '1'}"
    unknown = f"garrison_{'0' * 12}_{secret}"
    for header in (
        None,
        "",
        key,
        f"Basic {key}",
        "Bearer",
        "Bearer ",
        f"Bearer {flipped}",
        f"Bearer {unknown}",
        "Bearer é",
    ):
        assert ring.find_key(header) is None, header


def test_a_revoked_key_is_dead_after_the_next_look_and_keeps_its_date(
    opened: database.Store, ring: auth.Keyring
) -> None:
    key = auth.create_key(opened, "billing")
    ring.refresh()
    (record,) = auth.list_keys(opened)
    auth.revoke_key(opened, record.key_id)
    ring.refresh()
    assert ring.find_key(f"Bearer {key}") is None
    revoked_at = auth.list_keys(opened)[0].revoked_at
    auth.revoke_key(opened, record.key_id)
    assert auth.list_keys(opened)[0].revoked_at == revoked_at


def test_the_keys_stay_in_force_while_the_database_is_away(
    opened: database.Store, ring: auth.Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = auth.create_key(opened, "billing")
    ring.refresh()

    def away(_: database.Store) -> list[auth.Key]:
        raise GarrisonError("the database is away")

    monkeypatch.setattr(auth, "list_keys", away)
    with pytest.raises(GarrisonError, match="away"):
        ring.refresh()
    assert ring.find_key(f"Bearer {key}") is not None


def test_a_key_must_be_named_and_known(opened: database.Store) -> None:
    with pytest.raises(GarrisonError, match="needs a name"):
        auth.create_key(opened, " ")
    with pytest.raises(GarrisonError, match=r"there is no key abc.*key list"):
        auth.revoke_key(opened, "abc")


def test_the_commands_make_list_and_revoke_a_key(harbour: Any) -> None:
    def key(*words: str) -> str:
        done = CliRunner().invoke(app, ["key", *words, "--config", str(harbour.config)], catch_exceptions=False)
        return done.stdout.strip()

    made = key("create", "--name", "by command")
    assert re.fullmatch(r"garrison_[0-9a-f]{12}_[0-9a-f]{64}", made)
    key_id = made.split("_")[1]
    listed = key("list")
    assert key_id in listed
    assert made.split("_")[2] not in listed
    assert key("revoke", key_id) == f"{key_id} is revoked."
