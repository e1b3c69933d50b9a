"""Pages of the console: each module answers its routes.

In: a person, the index of accounts, the state database, reports.
Out: HTML, and acts on episodes, accounts and runs.
"""

from __future__ import annotations

from types import ModuleType

from monitoring.console.pages import (
    account,
    cost_to_serve,
    episodes_api,
    experiments,
    inbox,
    journey,
    models,
    owners,
    portfolio,
    problem_library,
    report,
    watch,
)

# Each has `routes(context) -> list[Route]`; in the order of the bar.
PAGES: tuple[ModuleType, ...] = (
    inbox,
    portfolio,
    account,
    episodes_api,
    report,
    owners,
    models,
    watch,
    experiments,
    journey,
    problem_library,
    cost_to_serve,
)
