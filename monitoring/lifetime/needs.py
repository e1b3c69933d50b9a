"""Find an account's needs: those that it stated, those of its own use, and those that like accounts show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from features.core.timestamps import DAY
from monitoring.lifetime.account_tables import AccountTables
from monitoring.lifetime.like_accounts import LikeAccounts
from monitoring.lifetime.like_use import BOUGHT_DAYS, USED_DAYS, LikeUse
from monitoring.lifetime.notes import Note
from monitoring.lifetime.purchase_lines import list_products

_MOST_OWN, _MOST_HIDDEN, _NOTES = 5, 6, 3
# What fewer of the like accounts have says little about this one.
_LEAST_SHARE, _LEAST_ACCOUNTS = 0.3, 5
# Without so many accounts that are like it, nothing can be said.
_FEWEST = 10


@dataclass(frozen=True)
class Topic:
    """What tickets of the last year were about.

    Args:
        topic: As the tickets name it.
        tickets: Their number.
    """

    topic: str
    tickets: int


@dataclass(frozen=True)
class OwnUse:
    """A feature of the product that the account uses.

    Args:
        feature: Its name.
        share: Of the account's use in 90 days.
        typical: Of the use of like accounts; None without any.
    """

    feature: str
    share: float
    typical: float | None


@dataclass(frozen=True)
class HiddenNeed:
    """Something that like accounts have, and this one has not.

    Args:
        kind: Whether it is a feature that they used in 90 days, or a product that they bought in a year.
        name: Of the feature or product.
        accounts: Like accounts that have it.
        of: Like accounts in all.
    """

    kind: Literal["feature", "product"]
    name: str
    accounts: int
    of: int


@dataclass(frozen=True)
class Needs:
    """What an account needs, as far as it can be known.

    Args:
        notes: The newest notes on it.
        topics: Of its tickets.
        uses: What it uses most.
        products: What it bought.
        hidden: The commonest first.
        like: The accounts that it was compared with; None where that could not be.
    """

    notes: tuple[Note, ...]
    topics: tuple[Topic, ...]
    uses: tuple[OwnUse, ...]
    products: tuple[str, ...]
    hidden: tuple[HiddenNeed, ...]
    like: LikeAccounts | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        like = self.like
        return {
            "stated": {
                "notes": [note.as_dict() for note in self.notes],
                "topics": [asdict(topic) for topic in self.topics],
            },
            "individual": {"uses": [asdict(use) for use in self.uses], "products": list(self.products)},
            "hidden": {
                "needs": [asdict(need) for need in self.hidden],
                "like_accounts": len(like.account_ids) if like else 0,
                "among": like.among if like else 0,
                "compared_by": list(like.compared_by) if like else [],
                "used_in_days": USED_DAYS,
                "bought_in_days": BOUGHT_DAYS,
            },
        }


def find_needs(tables: AccountTables, notes: Sequence[Note], use: LikeUse, at: int) -> Needs:
    """Find an account's needs.

    Args:
        tables: The account's rows.
        notes: On the account, newest first.
        use: What the accounts that are most like it use and buy.
        at: The instant to look back from (µs).
    """
    used = _count_own(tables, at) if "usage" in tables.tables else {}
    bought = list_products(tables.purchases, at, BOUGHT_DAYS)
    hidden: list[HiddenNeed] = []
    if use.of >= _FEWEST:
        hidden += _select_hidden("feature", use.features, used, use.of)
        hidden += _select_hidden("product", use.products, bought, use.of)
    total = sum(used.values()) or 1.0
    uses = [OwnUse(f, n / total, use.shares.get(f, 0.0) if use.shares else None) for f, n in used.items()]
    return Needs(
        tuple(notes[:_NOTES]),
        _list_topics(tables, at) if "tickets" in tables.tables else (),
        tuple(sorted(uses, key=lambda one: (-one.share, one.feature))[:_MOST_OWN]),
        bought,
        tuple(sorted(hidden, key=lambda need: (-need.accounts, need.name))[:_MOST_HIDDEN]),
        use.like,
    )


def _select_hidden(
    kind: Literal["feature", "product"], counts: Mapping[str, int], own: Mapping[str, Any] | Sequence[str], of: int
) -> list[HiddenNeed]:
    least = max(_LEAST_ACCOUNTS, _LEAST_SHARE * of)
    return [HiddenNeed(kind, name, n, of) for name, n in counts.items() if n >= least and name not in own]


def _list_topics(tables: AccountTables, at: int) -> tuple[Topic, ...]:
    sql = f"""
        SELECT topic, count(*) AS tickets FROM tickets
        WHERE account_no = $no AND topic IS NOT NULL AND opened_at >= $at - {BOUGHT_DAYS * DAY}
        GROUP BY topic ORDER BY tickets DESC, topic LIMIT 4
    """  # noqa: S608  # a number
    return tuple(Topic(**row) for row in tables.query(sql, at=at))


def _count_own(tables: AccountTables, at: int) -> dict[str, float]:
    """Count the account's use of each feature in the last 90 days."""
    sql = f"""
        SELECT feature, sum(coalesce("count", 1))::DOUBLE AS n FROM usage
        WHERE account_no = $no AND feature IS NOT NULL AND used_at >= $at - {USED_DAYS * DAY} GROUP BY feature
    """  # noqa: S608  # a number
    return {row["feature"]: row["n"] for row in tables.query(sql, at=at)}
