"""Counts who is in the cohort and who leaves, month by month, under the rules of the settings and under others.

It is what `features check` shows before anything is trained: whether there is enough to learn from, which condition of
a cohort drops whom, and what another rule would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import ibis
import numpy as np
import pandas as pd

from features.core.errors import LabelError
from features.core.timestamps import from_micros, to_micros
from features.definitions.sql_expression import declare_table
from features.definitions.visibility_rule import is_visible
from features.diagnostics.label_report import LabelMonth, LabelReport, RuleReport, RuleStep
from features.engine.snapshots import find_latest_as_of
from features.settings import Churn, ChurnLabel, Cohort, Settings, Upsell, UpsellLabel
from features.sources.history import History
from training.targets import time_splits
from training.targets.cohorts import MEMBERS, find_eligible
from training.targets.labels import compute_days_needed, compute_labels

_WORDS = {
    "in_force": "have a purchase with a term (term_starts_at, term_ends_at)",
    "active": "have a purchase that is no refund",
    "using": "have a use of at least 1",
    "lifetime": "have a beginning (started_at)",
}


def build_label_report(history: History, settings: Settings) -> LabelReport:
    """Count cohort and label of every target, horizon and month, for the rules of the settings and for alternatives."""
    until = settings.company.data_until or find_latest_as_of(history)
    monthly = settings.training.model_copy(update={"every": "month"})
    began = from_micros(history.all_began)
    cutoffs = time_splits.list_cutoffs(monthly, all_began=began, data_until=until)
    asked = [
        (name, target, horizon, True)
        for name, target in settings.targets.items()
        for horizon in sorted(set(target.horizons))
    ]
    asked += [("churn", target, max(target.horizons), False) for target in _list_alternatives(history, settings)]
    # Once for all horizons: to look for members at every cutoff takes longer than all else.
    cohorts = {
        cohort: _find_cohort(history, cohort, cutoffs)
        for cohort in dict.fromkeys(target.cohort for _, target, *_ in asked)
    }
    rules = [
        _count(
            history, settings, name, target, horizon, cutoffs, until, cohorts[target.cohort], configured=is_configured
        )
        for name, target, horizon, is_configured in asked
    ]
    return LabelReport(tuple(rules))


@dataclass(frozen=True)
class _FoundCohort:
    """A cohort at every cutoff, as `find_eligible` returns it, and how many accounts each of its conditions leaves."""

    rows: pd.DataFrame
    steps: tuple[RuleStep, ...]


def _find_cohort(history: History, cohort: Cohort, cutoffs: tuple[datetime, ...]) -> _FoundCohort:
    if not cutoffs:
        return _FoundCohort(pd.DataFrame({"account_id": [], "as_of": []}), ())
    rows = find_eligible(history, cohort, cutoffs)
    return _FoundCohort(rows, tuple(_list_steps(history, cohort, cutoffs, int(rows["account_id"].nunique()))))


def _count(  # noqa: PLR0913, PLR0917  # a rule, and all that its figures follow from
    history: History,
    settings: Settings,
    name: str,
    target: Churn | Upsell,
    horizon: int,
    cutoffs: tuple[datetime, ...],
    until: datetime,
    found: _FoundCohort,
    *,
    configured: bool,
) -> RuleReport:
    rows, steps = found.rows, found.steps
    labels = compute_labels(history, target, horizon, rows, data_until=until).to_numpy() if len(rows) else np.empty(0)
    accounts = history.query("SELECT created_at, coalesce(merged_at, 9e18::BIGINT) AS merged FROM accounts")
    months = []
    for cutoff in cutoffs:
        of_month = labels[(rows["as_of"] == cutoff).to_numpy()] if len(rows) else labels
        at = to_micros(cutoff)
        there = int(((accounts["created_at"] < at) & (accounts["merged"] > at)).sum())
        known = of_month[~np.isnan(of_month)]
        months.append(LabelMonth(cutoff, there, len(of_month), len(known), int(known.sum())))
    plan, too_short = _plan(settings, target, horizon, cutoffs, until)
    # An empty cohort is told by the condition that emptied it.
    empty = cutoffs and not len(rows)
    emptied = f"the cohort is empty at every cutoff: {_find_emptied(steps) or 'no account'}" if empty else ""
    fault = emptied or ("" if too_short else _find_one_class(months))
    cohort, label, problem = _describe(target.cohort), _describe(target.label), fault or too_short
    # Where training.first says when to begin, it is that key that leaves too little.
    is_young = bool(too_short and not fault and not settings.training.first)
    return RuleReport(name, cohort, label, horizon, configured, tuple(months), steps, plan, problem, is_young=is_young)


def _plan(
    settings: Settings,
    target: Churn | Upsell,
    horizon: int,
    cutoffs: tuple[datetime, ...],
    until: datetime,
) -> tuple[str, str]:
    """Return the split in time in words, and why there is none."""
    if not cutoffs:
        first = settings.training.first
        since = f"training.first {first:%Y-%m-%d}" if first else "90 days after the last source has begun"
        return "", f"there is no cutoff from {since} until the data end, {until:%Y-%m-%d}"
    longest = compute_days_needed(target, max(target.horizons))
    start = time_splits.find_test_start(settings.training, cutoffs, longest=longest, data_until=until)
    try:
        days = compute_days_needed(target, horizon)
        return time_splits.build_plan(cutoffs, days=days, start=start, data_until=until).describe(), ""
    except LabelError as error:
        return "", str(error).rstrip(".")


def explain_empty_cohort(history: History, cohort: Cohort, cutoffs: Sequence[datetime]) -> str:
    """Describe the condition of an empty cohort that emptied it; an empty text if none did."""
    return _find_emptied(tuple(_list_steps(history, cohort, tuple(cutoffs), 0)))


def _find_emptied(steps: Sequence[RuleStep]) -> str:
    """Describe the condition of a cohort that nobody satisfies; return an empty text if there is none."""
    previous = "accounts"
    for step in steps:
        if not step.accounts:
            return f"of {previous}, none {step.condition}"
        previous = f"the {step.accounts:,} accounts that {step.condition}"
    return ""


def _find_one_class(months: Sequence[LabelMonth]) -> str:
    """Describe labels of one class, or none at all."""
    asked, positives = sum(m.asked for m in months), sum(m.positives for m in months)
    if not asked:
        return "nobody of the cohort is asked: no label is mature, or the label's rule asks of none of it"
    if positives in {0, asked}:
        return (
            f"{'none' if not positives else 'each'} of the {asked:,} labels comes true: there is nothing to tell apart"
        )
    return ""


def _list_steps(history: History, cohort: Cohort, cutoffs: tuple[datetime, ...], eligible: int) -> Iterator[RuleStep]:
    """Yield how many accounts are left by each condition of a cohort, one after another; `eligible` by all of them."""
    rows = declare_table(cohort.table)
    members = MEMBERS[cohort.kind]
    yield RuleStep(f"have rows in {cohort.table}", _count_accounts(history, rows))
    yield RuleStep(
        _WORDS[cohort.kind], _count_accounts(history, members(cohort.model_copy(update={"products": ()}), rows))
    )
    facts = members(cohort, rows)
    if cohort.products:
        yield RuleStep(f"have one of a product {', '.join(cohort.products)}", _count_accounts(history, facts))
    instants = ibis.table({"as_of": "int64"}, name="cutoffs")
    seen = facts.join(instants, is_visible(facts.t, facts.known, instants.as_of, facts.until))
    span = f"{cutoffs[0]:%Y-%m-%d} to {cutoffs[-1]:%Y-%m-%d}"
    when = {"active": f"in the {cohort.within_days} days before", "using": f"in the {cohort.within_days} days before"}
    yield RuleStep(
        f"have one {when.get(cohort.kind, 'that covers')} a cutoff ({span})", _count_accounts(history, seen, cutoffs)
    )
    yield RuleStep("exist by then (created_at)", eligible)


def _count_accounts(history: History, facts: ibis.Table, cutoffs: tuple[datetime, ...] = ()) -> int:
    sql = ibis.to_sql(facts.select("account_id"), dialect="duckdb")
    frames = {"cutoffs": pd.DataFrame({"as_of": [to_micros(c) for c in cutoffs]}, dtype="int64")} if cutoffs else {}
    return int(history.query(f"SELECT count(DISTINCT account_id) AS n FROM ({sql})", **frames)["n"].iloc[0])  # noqa: S608  # Ibis' own


def _describe(section: Cohort | ChurnLabel | UpsellLabel) -> str:
    """Return the kind of a cohort or label with the limits that the settings name."""
    limits = section.model_dump(include=section.model_fields_set - {"kind"})
    each = [f"{key} {', '.join(value) if isinstance(value, tuple) else value}" for key, value in limits.items()]
    return f"{section.kind} ({'; '.join(each)})" if each else str(section.kind)


def _list_alternatives(history: History, settings: Settings) -> Iterator[Churn]:
    """Yield the other rules of leaving that the tables allow, with the horizons of the settings."""
    tables = set(history.tables)
    terms = {"term_ends_at"} <= set(settings.tables["purchases"].columns) if "purchases" in tables else False
    pairs = [
        ("in_force", "lapse", terms),
        ("active", "no_purchase", "purchases" in tables),
        ("using", "no_usage", "usage" in tables),
        ("lifetime", "ended", "lifetimes" in tables),
    ]
    for cohort, label, is_possible in pairs:
        if is_possible and (cohort, label) != (settings.churn.cohort.kind, settings.churn.label.kind):
            yield settings.churn.model_copy(
                update={"cohort": Cohort(kind=cohort), "label": ChurnLabel(kind=label), "lead_days": 0}  # type: ignore[arg-type]
            )
