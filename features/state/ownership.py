"""Tell whose a state database is, so that two companies never write into one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.settings import Settings
from features.settings.load import load_settings
from features.settings.tables import Source
from features.state.tables import METADATA

if TYPE_CHECKING:
    from features.state.database import Store

# One row: the company that opened the database first, and its TOML.
OWNER = sa.Table(
    "owner",
    METADATA,
    sa.Column("company", sa.String, primary_key=True),
    sa.Column("file", sa.String, nullable=False),
)
_HINT = (
    "Give each company a name and a paths.var of its own, and in one PostgreSQL a schema: "
    "state_url = 'postgresql://…?options=-csearch_path%3DNAME'. After renaming a company, delete the row of table owner"
)


def claim(store: Store, settings: Settings) -> None:
    """Write down whose state database this is, if nobody's yet.

    Raises:
        GarrisonError: It is another company's: one of another name, or of the same name whose TOML is still there,
            names the same database, and reads its accounts elsewhere.
    """
    with store.reading() as connection:
        owner = connection.execute(sa.select(OWNER)).first()
    if owner is None:
        row = {"company": settings.company.name, "file": str(settings.file.absolute())}
        with store.writing() as connection:
            if connection.execute(sa.select(OWNER)).first() is None:  # another process may have been first
                connection.execute(sa.insert(OWNER), row)
                return
        claim(store, settings)
    elif owner.company != settings.company.name:
        raise GarrisonError(
            f"this is not the state of {settings.company.name}", found=f"that of {owner.company}", hint=_HINT
        )
    elif _is_another_company(Path(owner.file), settings):
        raise GarrisonError(
            f"there are two companies {owner.company}, and this is not the state of this one",
            found=f"that of {owner.file}, with other accounts",
            hint=_HINT,
        )


def _is_another_company(file: Path, settings: Settings) -> bool:
    """Return whether a TOML is there with the same name and state, and reads accounts from somewhere else."""
    if not (file.exists() and settings.file.exists()) or file.samefile(settings.file):
        return False
    try:
        other = load_settings(file)
    except GarrisonError:
        return False
    # A copy of a whole installation has a copied state, which names the first one's TOML.
    is_shared = other.company.name == settings.company.name and _locate_state(other) == _locate_state(settings)
    return is_shared and _locate_accounts(other) != _locate_accounts(settings)


def _locate_state(settings: Settings) -> str:
    """Return the address of the state database; a relative file is taken to be beside the TOML."""
    address = sa.make_url(settings.state)
    is_file = address.get_backend_name() == "sqlite" and address.database
    return str((settings.folder / str(address.database)).resolve()) if is_file else settings.state


def _locate_accounts(settings: Settings) -> Source | None:
    """Return the source of accounts, its path from the root on; None where accounts are made of other tables."""
    source = settings.sources.get(settings.tables["accounts"].source or "")
    if source is None or source.path is None:
        return source
    return source.model_copy(update={"path": str((settings.folder / source.path).resolve())})
