"""Two companies with one state database are refused; one company with two files of settings is not."""

import shutil
from pathlib import Path

import pytest

from features.core.errors import GarrisonError
from features.settings import Settings
from features.settings.load import load_settings
from features.state import database
from tests.support.scored_company import write_company


def write_settings(folder: Path, name: str, state: Path, *, file: str = "garrison.toml") -> Settings:
    """Write a company with a state database of one address."""
    folder.mkdir(exist_ok=True)
    settings = write_company(folder, [{"id": "A"}])
    text = settings.file.read_text().replace('name = "Harbour"', f'name = "{name}"', 1)
    (folder / file).write_text(f'state_url = "sqlite:///{state}"\n{text}')
    return load_settings(folder / file)


def test_another_name_or_the_same_name_with_other_accounts_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    database.open(write_settings(tmp_path / "one", "Amber", state)).close()
    with pytest.raises(GarrisonError, match=r"not the state of Birch\. found: that of Amber"):
        database.open(write_settings(tmp_path / "two", "Birch", state))
    with pytest.raises(GarrisonError, match=r"two companies Amber.*one/garrison.toml, with other accounts"):
        database.open(write_settings(tmp_path / "two", "Amber", state))


def test_a_second_file_of_the_same_accounts_and_a_moved_one_are_the_same_company(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    first = write_settings(tmp_path / "one", "Amber", state)
    database.open(first).close()
    database.open(write_settings(tmp_path / "one", "Amber", state, file="other.toml")).close()
    first.file.unlink()
    database.open(write_settings(tmp_path / "two", "Amber", state)).close()


def test_a_copied_installation_beside_the_first_may_use_its_copied_state(tmp_path: Path) -> None:
    database.open(write_settings(tmp_path / "one", "Amber", tmp_path / "one" / "state.db")).close()
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one" / "state.db", tmp_path / "two")
    database.open(write_settings(tmp_path / "two", "Amber", tmp_path / "two" / "state.db")).close()
