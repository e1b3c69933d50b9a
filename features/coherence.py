"""What must hold between the parts of a company's settings, beyond each part's own types."""

from __future__ import annotations

from collections.abc import Iterator

from features.contract import TABLES
from features.errors import nearest
from features.settings import Settings, TableMap


def problems(settings: Settings) -> Iterator[str]:
    """One sentence for each contradiction, naming its key."""
    if "accounts" not in settings.tables:
        yield "tables.accounts is missing: every company needs it"
    for name, table in settings.tables.items():
        if name not in TABLES:
            yield f"tables.{name} is not a table of the contract. {nearest(name, TABLES)}"
            continue
        if table.source is not None and table.source not in settings.sources:
            hint = nearest(table.source, settings.sources)
            yield f"tables.{name}.source {table.source!r} is not in [sources]. {hint}"
        if table.system is not None and name in {"accounts", "identities"}:
            yield f"tables.{name}.system can't be: its account_id is the account itself"
        elif table.system is not None and "identities" not in settings.tables:
            yield f"tables.{name}.system is set, but there is no [tables.identities] to look it up in"
        yield from _columns(name, table)
    yield from _targets(settings)


def _columns(name: str, table: TableMap) -> Iterator[str]:
    contract = TABLES[name]
    for column in table.columns:
        if column not in contract.columns and not contract.open:
            hint = nearest(column, contract.columns)
            yield f"tables.{name}.columns.{column} is not in the contract. {hint}"
    for column, spec in contract.columns.items():
        if spec.needed and column not in table.columns:
            yield f"tables.{name}.columns.{column} is missing: the contract needs it"


def _targets(settings: Settings) -> Iterator[str]:
    for name, target in settings.targets.items():
        wants = {target.cohort.kind, target.label.kind}
        if wants & {"lifetime", "ended"} and "lifetimes" not in settings.tables:
            yield f"{name} asks for kind lifetime or ended, but there is no [tables.lifetimes]"
        if wants - {"lifetime", "ended"} and "purchases" not in settings.tables:
            yield f"{name} is told by purchases, but there is no [tables.purchases]"
        terms = {"term_starts_at", "term_ends_at"}
        mapped = set(settings.tables["purchases"].columns) if "purchases" in settings.tables else set()
        if wants & {"in_force", "lapse", "recurring_up"} and not terms <= mapped:
            yield f"{name} is told by terms, but purchases maps no {' and '.join(sorted(terms - mapped))}"
    if settings.alerts.horizon and settings.alerts.horizon not in settings.churn.horizons:
        allowed = list(settings.churn.horizons)
        yield f"alerts.horizon {settings.alerts.horizon} is not one of churn.horizons {allowed}"
    if settings.alerts.leave_share < settings.alerts.enter_share:
        yield "alerts.leave_share is below alerts.enter_share: an episode would close as it opens"
