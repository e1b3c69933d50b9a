"""Raise the alerts of a company on its stored scores: the lifecycle, with all that it reads of the company's tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.alerts import facts, lifecycle, limits
from monitoring.alerts.lifecycle import AlertRun
from monitoring.binding.account_records import read_records
from monitoring.binding.bindings import AccountBinding, BindingRules
from monitoring.letters import evidence
from training.models.model import Model


def run_alerts(  # noqa: PLR0913  # all but the first four named
    settings: Settings,
    store: Store,
    history: History,
    champions: Mapping[str, Model],
    *,
    as_of: datetime,
    note: str = "",
    dry_run: bool = False,
    now: datetime | None = None,
    with_text: bool = True,
) -> AlertRun:
    """Open, continue and close episodes of every kind on the scores at `as_of`; arguments as of `lifecycle.run`.

    Args:
        settings: The company's.
        store: Its state database.
        history: Its history.
        champions: The models that gave the scores, by target.
        as_of: Of the scores.
        note: What owners should know about the data behind these scores; "" where all is well.
        dry_run: Write nothing.
        now: When it is known who is away; by default the clock's instant.
        with_text: Whether messages say anything; a replay asks only who would have got them.

    Raises:
        GarrisonError: There is no champion, or the scores can't be acted on.
    """
    about, rules = (
        facts.read_facts(settings, history, as_of, store),
        BindingRules.load(settings, store, now or datetime.now(UTC)),
    )

    def bind(accounts: Collection[str]) -> Mapping[str, AccountBinding]:
        return rules.bind(read_records(history, accounts), accounts, about.tiers)

    return lifecycle.run(
        settings,
        store,
        limits=limits.find_thresholds(champions, settings),
        sale=limits.find_sale_limits(champions, settings),
        bindings=bind,
        evidence=lambda accounts, at: evidence.find_evidence(history, accounts, at),
        facts=about,
        departures=lambda accounts: facts.find_departures(history, accounts, as_of),
        as_of=as_of,
        note=note,
        dry_run=dry_run,
        with_text=with_text,
    )
