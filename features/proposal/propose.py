"""Propose a company's settings from its files or database, and try them."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.core.errors import GarrisonError, SettingsError, SourceError
from features.core.progress import Progress
from features.proposal.draft import fill_proposal
from features.proposal.model import Proposal
from features.proposal.places import PASSWORD, find_sources, hide_secret
from features.proposal.target_choices import guess_choice, list_choices
from features.proposal.toml_text import write_toml
from features.proposal.workspace import open_workspace
from features.settings import Paths, Settings
from features.settings.validate import find_problems
from features.sources.history import History
from features.sources.validated_table import ValidatedTable

_SHOWN = 12
# Names of folders that say nothing of the company.
_PLAIN_FOLDERS = frozenset({"exports", "export", "data", "dump", "raw", "files", "csv", "tables", "seeds", "public"})
_NEEDS = {"tickets", "usage", "purchases"}


@dataclass(frozen=True)
class TriedProposal:
    """A proposal and what became of it when its tables were read.

    Args:
        proposal: The settings.
        text: The TOML file.
        checked: The result of validating each table.
        problem: Why `features check` would stop; None if it would not.
    """

    proposal: Proposal
    text: str
    checked: tuple[ValidatedTable, ...]
    problem: str | None


def propose(place: str, file: Path, recipes: Sequence[str] = (), progress: Progress | None = None) -> TriedProposal:
    """Propose the settings of a company and try them.

    Args:
        place: A folder, a file or the URL of a database.
        file: The TOML file to be: relative paths start at its folder.
        recipes: Names of known systems whose tables are among the files.
        progress: Called with each step.

    Raises:
        SourceError: There is nothing to read, or no table has the role of events or accounts.
    """

    def report(step: str) -> None:
        if progress:
            progress(step)

    report("the files")
    sources, notes, left = find_sources(place, file.parent)
    sources, unreadable = _keep_readable(sources, file)
    proposal = Proposal({"name": _name_company(place)}, sources, source_notes=notes)
    for source, why in notes.items():
        if "encoding" in sources.get(source, {}):
            proposal.confirm[f"sources.{source}"], proposal.source_notes[source] = f"the encoding: {why}", ""
    proposal.notes += [f"Left out: {', '.join(left)}"] if left else []
    proposal.notes += [f"Left out: {why}" for why in unreadable]
    report("the columns")
    with open_workspace(sources, file) as workspace:
        proposal.notes += workspace.list_bad_lines()
        fill_proposal(proposal, workspace, recipes)
    if not _NEEDS & set(proposal.tables):
        raise SourceError(
            "no table of tickets, usage or purchases was found",
            found=", ".join(sources),
            hint="A table of events has a time and the id of its account. Name a --recipe, or write the TOML by hand",
        )
    _drop_unused(proposal)
    report("the proposal")
    return _try(proposal, file)


def _name_company(place: str) -> str:
    stem = (
        Path(place.split("?", maxsplit=1)[0].rstrip("/")).resolve().stem
        if "://" not in place
        else place.rpartition("/")[2]
    )
    if stem.lower() in _PLAIN_FOLDERS:
        stem = Path(place).resolve().parent.name
    return re.sub(r"[\W_]+", " ", stem.split(".")[0].split("?")[0]).strip().title() or "Company"


def _keep_readable(sources: dict[str, dict[str, Any]], file: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the sources that can be read, and why others can't."""
    try:
        with open_workspace(sources, file):
            return sources, []
    except GarrisonError:
        kept, why = {}, []
    for name, keys in sources.items():
        try:
            with open_workspace({name: keys}, file):
                kept[name] = keys
        except GarrisonError as error:
            why.append(str(error))
    if not kept:
        raise SourceError("none of the files can be read", found=why[0] if why else None)
    return kept, why


def _drop_unused(proposal: Proposal) -> None:
    """Leave out the sources that no table is read from."""
    unused = []
    for name in list(proposal.sources):
        named = re.compile(rf'"{re.escape(name)}"|\b{re.escape(name)}\b')
        if not any(t.source == name or (t.query and named.search(t.query)) for t in proposal.tables.values()):
            del proposal.sources[name]
            proposal.source_notes.pop(name, None)
            proposal.confirm.pop(f"sources.{name}", None)
            unused.append(name)
    if unused:
        more = f" and {len(unused) - _SHOWN} more" if len(unused) > _SHOWN else ""
        proposal.notes.append(f"Not used: {', '.join(unused[:_SHOWN])}{more}")


def _try(proposal: Proposal, file: Path) -> TriedProposal:
    """Read all tables as proposed: count what is lost, and the base rate that each cohort and label would give."""
    secret = None
    proposal.choices = [guess_choice(set(proposal.tables))]
    for keys in proposal.sources.values():
        if "url" in keys:
            keys["url"], secret = hide_secret(keys["url"])
    if secret:
        proposal.notes.append(f"The password of the database stands in the environment: export {PASSWORD}=…")
    checked: tuple[ValidatedTable, ...] = ()
    problem: str | None = None
    with tempfile.TemporaryDirectory(prefix="garrison-init-") as scratch:
        try:
            settings = _load(write_toml(proposal, file.name), file, secret)
            settings = settings.model_copy(update={"paths": Paths(var=Path(scratch), mlruns=Path(scratch))})
            with History.open(settings, refuse=False) as history:
                checked = history.checked
                no_event = history.explain_no_event()
                problem = str(no_event) if no_event else None
                if not no_event:
                    proposal.choices = list_choices(history) or proposal.choices
            limit = settings.quality.max_quarantine
            shares = {c.table: 1 - c.kept / c.rows for c in checked if c.rows}
            proposal.bad_share = {table: share for table, share in shares.items() if share > limit}
        except GarrisonError as error:
            problem = str(error)
    if problem:
        proposal.notes.append(f"confirm: as proposed, the check stops: {problem}")
    return TriedProposal(proposal, write_toml(proposal, file.name), checked, problem)


def _load(text: str, file: Path, secret: str | None) -> Settings:
    """Return the settings of a TOML text, as they would be read from its file."""
    raw = tomllib.loads(text.replace(f"${{{PASSWORD}}}", secret or ""))
    settings = Settings.model_validate({**raw, "file": file})
    problems = list(find_problems(settings))
    if problems:
        raise SettingsError(f"{file} would have settings that are not allowed: {'; '.join(problems)}")
    return settings
