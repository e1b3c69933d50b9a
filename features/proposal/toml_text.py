"""The proposal as the text of a TOML file, with the reason beside each line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from features.core.contract import TABLES
from features.proposal.model import Proposal, ProposedTable, TargetChoice

_WIDEST = 110
_HEAD = """# Proposed by `python -m features init` from the data themselves. Beside each line stands why.
# Confirm or correct every line with `# confirm:`, then run: python -m features check --config {file}
"""


def write_toml(proposal: Proposal, file: str) -> str:
    """Return the text of the TOML file."""
    lines = [_HEAD.format(file=file)]
    lines += [f"# {note}" for note in proposal.notes]
    lines += ["", "[company]", *_pairs(proposal.company, proposal, "company"), "", "[sources]"]
    width = max(map(len, proposal.sources))
    for name, keys in proposal.sources.items():
        inner = ", ".join(f"{key} = {_value(value)}" for key, value in keys.items())
        note = proposal.source_notes.get(name, "")
        lines.append(f"{name:<{width}} = {{ {inner} }}" + _beside(note, proposal.confirm.get(f"sources.{name}", "")))
    order = [t for t in TABLES if t in proposal.tables]
    for name in order:
        lines += ["", *_table(proposal.tables[name])]
    lines += ["", *_churn(proposal), *_catalog(proposal), *_quality(proposal)]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _pairs(keys: dict[str, Any], proposal: Proposal, section: str) -> Iterator[str]:
    width = max(map(len, keys))
    for key, value in keys.items():
        yield f"{key:<{width}} = {_value(value)}" + _beside("", proposal.confirm.get(f"{section}.{key}", ""))


def _table(table: ProposedTable) -> Iterator[str]:
    yield from (f"# {_plain(note)}" for note in table.notes)
    if table.confirm:
        yield f"# confirm: {_plain(table.confirm)}"
    yield f"[tables.{table.name}]"
    if table.source:
        yield f"source = {_value(table.source)}"
    else:
        yield f"query = {_text(str(table.query))}"
    yield from (f"{key} = {_value(value)}" for key, value in table.keys.items())
    yield f"[tables.{table.name}.columns]"
    known = [c for c in TABLES[table.name].columns if c in table.columns]
    names = known + [c for c in table.columns if c not in known]
    width = max(map(len, names), default=0)
    for name in names:
        column = table.columns[name]
        origin = dict(column.origin)
        only = set(origin) == {"column"}
        value = _value(origin["column"]) if only else _inline(origin)
        yield f"{name:<{width}} = {value}" + _beside(column.why, column.confirm)


def _inline(origin: dict[str, Any]) -> str:
    parts = []
    for key, value in origin.items():
        if isinstance(value, dict):
            pairs = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items())
            parts.append(f"{key} = {{ {pairs} }}")
        else:
            parts.append(f"{key} = {_value(value)}")
    return "{ " + ", ".join(parts) + " }"


def _churn(proposal: Proposal) -> Iterator[str]:
    chosen, *others = proposal.choices
    yield "# confirm: who is a customer, and what counts as leaving (docs/labels.md)"
    for choice in proposal.choices:
        yield f"# {_describe(choice)}"
    yield "[churn]"
    yield f"cohort   = {_inline(chosen.cohort)}"
    yield f"label    = {_inline(chosen.label)}"
    yield f"horizons = [{chosen.horizon}]"
    for other in others:
        yield f"# or: cohort = {_inline(other.cohort)}, label = {_inline(other.label)}"


def _describe(choice: TargetChoice) -> str:
    if choice.rate is None:
        return f"{choice.name}: nobody would be asked"
    recent = list(choice.months.items())[-4:]
    shown = ", ".join(f"{month} {gone / n:.1%} of {n:,}" for month, (n, gone) in recent)
    return f"{choice.name}: {choice.rate:.1%} leave within {choice.horizon} days; {shown}"


def _catalog(proposal: Proposal) -> Iterator[str]:
    if proposal.shares_of_use:
        yield ""
        yield "# The commonest product features: how use is shared among them tells who is about to leave."
        yield "[catalog]"
        yield f"shares_of_use = {_value(list(proposal.shares_of_use))}"


def _quality(proposal: Proposal) -> Iterator[str]:
    if not proposal.bad_share:
        return
    worst = max(proposal.bad_share.values())
    yield ""
    for table, share in proposal.bad_share.items():
        yield f"# confirm: {share:.1%} of {table} can't be used; the check shows why. Correct the mapping above, or"
    yield "# if these rows may truly be dropped, allow so many:"
    yield "# [quality]"
    yield f"# max_quarantine = {min(1.0, round(worst + 0.01, 2))}"


def _beside(why: str, confirm: str) -> str:
    text = "; ".join(part for part in (f"confirm: {confirm}" if confirm else "", why) if part)
    text = _plain(text)
    return f"  # {text if len(text) <= _WIDEST else text[: _WIDEST - 1] + '…'}" if text else ""


def _plain(text: str) -> str:
    """Return text that may stand in a TOML comment, on one line."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(str(value))


def _text(text: str) -> str:
    # `${` would be an environment variable; only a database's URL means one.
    if "'" not in text and not re.search(r"[\x00-\x1f\x7f]", text) and ("\\" in text or '"' in text):
        return f"'{text}'"
    if "\n" in text or len(text) > _WIDEST or ('"' in text and "'" in text):  # noqa: SIM102
        if "'''" not in text and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
            return f"'''\n{text}" + "\n" * text.endswith("'") + "'''"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _quoted_key(text)


def _quoted_key(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
