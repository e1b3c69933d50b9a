"""Score an account as if something were otherwise: what would be, never what is, and never stored as a score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from features.core.errors import GarrisonError
from features.core.language import ENGLISH, Language
from features.core.timestamps import DAY, to_micros
from features.definitions.visibility_rule import ROWS, Opening, is_outcome_visible, is_visible
from features.settings import Settings
from features.sources import posted_events
from features.sources.history import History
from monitoring.letters.driver_words import describe_driver, rank_drivers
from serving.events import rescoring
from serving.scoring import score_table, snapshot_store
from serving.scoring.drivers import find_drivers
from serving.scoring.scorer import PreparedSnapshots, Scorer

# Days before the scores' instant whose usage changes.
USAGE_DAYS = 30
_HOUR = DAY // 24
# From losing nearly all to ten times as much.
_LEAST, _MOST = -0.95, 10.0
Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What would be otherwise.

    Args:
        answered: Every open ticket was answered and resolved an hour before.
        usage: Share by which the usage of the last 30 days is more, such as 0.2; below 0 for less.
        price: Share by which the price of the terms in force is more; below 0 for less.
        touch: Somebody called the day before.
    """

    answered: bool = False
    usage: float = 0.0
    price: float = 0.0
    touch: bool = False

    @property
    def is_nothing(self) -> bool:
        """Return whether all stays as it is."""
        return not (self.answered or self.usage or self.price or self.touch)

    def check(self) -> None:
        """Check it.

        Raises:
            GarrisonError: Nothing changes, or a share is out of bounds.
        """
        if self.is_nothing:
            raise GarrisonError("nothing would be otherwise", hint="Choose at least one change")
        for name, share in (("usage", self.usage), ("price", self.price)):
            if not _LEAST <= share <= _MOST:
                raise GarrisonError(
                    f"the {name} can't change by so much", found=f"{share:+.0%}", hint="Choose from -95 % to +1000 %"
                )


@dataclass(frozen=True)
class WhatIfScore:
    """A score as it is, and as it would be.

    Args:
        target: churn or upsell.
        horizon: In days.
        now: Probability as it is.
        then: Probability as it would be.
        then_low: Lower end of the 90 % interval as it would be; None by an older model.
        then_high: Upper end of it.
        drivers: As it would be, as scores store them.
    """

    target: str
    horizon: int
    now: float
    then: float
    then_low: float | None
    then_high: float | None
    drivers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class WhatIf:
    """What the models say of an account as if something were otherwise.

    Args:
        account_id: Of the account.
        as_of: The instant that both look from.
        change: What is otherwise.
        touched: What was changed: open tickets, usage events, terms and calls, each a number of rows.
        scores: Of each target and horizon.
    """

    account_id: str
    as_of: datetime
    change: Change
    touched: Mapping[str, int]
    scores: tuple[WhatIfScore, ...]

    def find_score(self, target: str, horizon: int) -> WhatIfScore | None:
        """Find a score; None where no model gives it."""
        return next((s for s in self.scores if (s.target, s.horizon) == (target, horizon)), None)

    def list_reasons(self, score: WhatIfScore, history: History, language: Language = ENGLISH) -> list[str]:
        """Return what would raise a score, in a language."""
        return [describe_driver(driver, history.catalog, language) for driver in rank_drivers(score.drivers)]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "what_if": True,
            "account_id": self.account_id,
            "as_of": self.as_of.isoformat(),
            "change": vars(self.change),
            "touched": dict(self.touched),
            "scores": [vars(score) for score in self.scores],
        }


def score_what_if(
    settings: Settings, history: History, scorer: Scorer | None, account_id: str, change: Change
) -> WhatIf:
    """Score an account with changed rows, by the models and the code that every score comes from.

    Args:
        settings: The company's.
        history: That the newest scores were made from.
        scorer: The models that serve; None without any.
        account_id: Of the account.
        change: What is otherwise.

    Raises:
        GarrisonError: Nothing was scored, no model serves, there is no such account, or nothing of the change applies.
    """
    change.check()
    file = score_table.find_newest(settings)
    if file is None or scorer is None:
        raise GarrisonError("nothing has been scored yet", hint="Run `python -m serving score` first")
    as_of = score_table.parse_instant(file)
    empty = posted_events.read_revisions(settings, 0)
    tables = rescoring.read_account_rows(settings, history, [account_id], empty)
    if not tables["accounts"]:
        raise GarrisonError(f"there is no account {account_id}", hint="Name it as the accounts table does")
    changed, touched = change_rows(tables, to_micros(as_of), change)
    if not any(touched.values()):
        raise GarrisonError(
            "the account has nothing that the change applies to",
            found="no open ticket, usage or term of this kind",
            hint="Choose another change",
        )
    now, then = (snapshot_store.prepare_rows(settings, scorer, rows, as_of) for rows in (tables, changed))
    if not len(now):
        raise GarrisonError(f"the account {account_id} was created after {as_of:%Y-%m-%d}", hint="Score again first")
    return WhatIf(account_id, as_of, change, touched, tuple(_compare(scorer, now, then)))


def _compare(scorer: Scorer, now: PreparedSnapshots, then: PreparedSnapshots) -> list[WhatIfScore]:
    is_scores, would_scores, compared = scorer.score(now), scorer.score(then), []
    for target, model in scorer.models.items():
        lows, highs = model.find_ends(would_scores[target], then.as_of)
        for h, horizon in enumerate(model.horizons):
            (drivers,) = find_drivers(model, then, would_scores[target], horizon)
            low, high = (None if math.isnan(end) else float(end) for end in (lows[0, h], highs[0, h]))
            is_now, would_be = float(is_scores[target][0, h]), float(would_scores[target][0, h])
            plain = [driver.as_dict() for driver in drivers]
            compared.append(WhatIfScore(target, horizon, is_now, would_be, low, high, plain))
    return compared


def change_rows(
    tables: Mapping[str, Sequence[Row]], at: int, change: Change
) -> tuple[dict[str, Sequence[Row]], dict[str, int]]:
    """Change the rows of an account, as far as they can be seen at an instant.

    Args:
        tables: Canonical rows by table.
        at: The instant of the scores (µs).
        change: What is otherwise.

    Returns:
        The tables with changed rows, and how many rows changed by what they are.
    """
    changed, touched = dict(tables), {"tickets": 0, "usage": 0, "terms": 0, "calls": 0}
    if change.answered and "tickets" in tables:
        changed["tickets"] = [_answer(row, at) for row in tables["tickets"]]
        touched["tickets"] = _count_changed(tables["tickets"], changed["tickets"])
    if change.usage and "usage" in tables:
        changed["usage"] = _scale_usage(tables["usage"], at, change.usage)
        touched["usage"] = _count_changed(tables["usage"], changed["usage"])
    if change.price and "purchases" in tables:
        changed["purchases"] = [_reprice(row, at, change.price) for row in tables["purchases"]]
        touched["terms"] = _count_changed(tables["purchases"], changed["purchases"])
    if change.touch and "touches" in tables:
        account = tables["accounts"][0]["account_id"]
        call = {"account_id": account, "touched_at": at - DAY, "kind": "call", "known_at": at - DAY}
        changed["touches"] = [*tables["touches"], {**call, "first_known_at": None}]
        touched["calls"] = 1
    return changed, touched


def _count_changed(before: Sequence[Row], after: Sequence[Row]) -> int:
    return sum(x is not y for x, y in zip(before, after, strict=True))


def _answer(row: Row, at: int) -> Row:
    """Return a ticket as answered and resolved an hour before, if it stands open then."""
    if not is_visible(row["opened_at"], row["known_at"], at):
        return row
    opening = Opening(row["opened_at"], row["known_at"], row["first_known_at"])
    resolved_at = row["resolved_at"]
    if resolved_at is not None and is_outcome_visible(opening, resolved_at, row["resolved_known_at"], at, ROWS):
        return row
    done = max(row["opened_at"], at - _HOUR)
    answered_at, answered_known = row["first_response_at"], row["first_response_known_at"]
    if answered_at is None or not is_outcome_visible(opening, answered_at, answered_known, at, ROWS):
        answered_at, answered_known = done, done
    # What the resolution truly brought is not known at that instant.
    outcome = {"csat": None, "reopened": None, "escalated": None}
    given = {"first_response_at": answered_at, "first_response_known_at": answered_known}
    return {**row, **given, "resolved_at": done, "resolved_known_at": done, **outcome}


def _scale_usage(rows: Sequence[Row], at: int, share: float) -> list[Row]:
    """Return usage with the counts of the last days scaled, so that their sum is as exact as whole counts allow."""
    scaled, total, given = list(rows), 0.0, 0
    order = sorted(range(len(rows)), key=lambda i: rows[i]["used_at"])
    for i in order:
        row = rows[i]
        if row["used_at"] < at - USAGE_DAYS * DAY or not is_visible(row["used_at"], row["known_at"], at):
            continue
        total += (1 if row["count"] is None else row["count"]) * (1 + share)
        count = max(0, round(total) - given)
        given += count
        scaled[i] = {**row, "count": count}
    return scaled


def _reprice(row: Row, at: int, share: float) -> Row:
    """Return a purchase of a term in force at another price; what it is listed at stays."""
    ends_at = row["term_ends_at"]
    if ends_at is None or ends_at < at or not is_visible(row["purchased_at"], row["known_at"], at):
        return row
    amount = (row["amount"] * (1 + Decimal(str(share)))).quantize(Decimal("0.0001"))
    return {**row, "amount": amount}
