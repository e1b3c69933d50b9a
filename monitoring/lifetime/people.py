"""Read who uses the product at an account, and when each was last seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from features.core.safe_line import to_safe_line
from features.core.timestamps import DAY, from_micros
from monitoring.lifetime.account_tables import AccountTables

_MOST = 12
# Who was not seen for so long counts as gone quiet.
_QUIET = 30 * DAY


@dataclass(frozen=True)
class Person:
    """A person at the account.

    Args:
        user_id: As the usage names the person.
        first_seen: µs.
        last_seen: µs.
        days: Days with use in the last ninety that the usage covers.
        feature: The most used one; None where features are not recorded.
    """

    user_id: str
    first_seen: int
    last_seen: int
    days: int
    feature: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        first, last = from_micros(self.first_seen).isoformat(), from_micros(self.last_seen).isoformat()
        return {
            "user_id": self.user_id,
            "first_seen": first,
            "last_seen": last,
            "days": self.days,
            "feature": self.feature,
        }


@dataclass(frozen=True)
class People:
    """The people at an account.

    Args:
        people: Those with the most days of use, at most twelve.
        total: Ever seen.
        lately: Seen in the last thirty days.
        gone: Seen in the sixty days before these, and not since.
    """

    people: tuple[Person, ...]
    total: int
    lately: int
    gone: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = [person.as_dict() for person in self.people]
        return {"total": self.total, "seen_in_30_days": self.lately, "gone_quiet": self.gone, "people": plain}


def read_people(tables: AccountTables, at: int) -> People | None:
    """Read the people at an account; None where the usage names nobody.

    Args:
        tables: The account's rows.
        at: The instant that days are counted back from (µs).
    """
    if "usage" not in tables.tables:
        return None
    sql = f"""
        WITH people AS (
            SELECT user_id, min(used_at) AS first_seen, max(used_at) AS last_seen,
                count(DISTINCT used_at // {DAY}) FILTER (used_at >= $at - 90 * {DAY}) AS days, mode(feature) AS feature
            FROM usage WHERE account_no = $no AND user_id IS NOT NULL GROUP BY user_id
        )
        SELECT *, count(*) OVER () AS total, count(*) FILTER (last_seen >= $at - {_QUIET}) OVER () AS lately,
            count(*) FILTER (last_seen < $at - {_QUIET} AND last_seen >= $at - 3 * {_QUIET}) OVER () AS gone
        FROM people ORDER BY days DESC, last_seen DESC, user_id LIMIT {_MOST}
    """  # noqa: S608  # numbers
    rows = tables.query(sql, at=at)
    if not rows:
        return None
    names = ("user_id", "first_seen", "last_seen", "days", "feature")
    for row in rows:
        row["feature"] = row["feature"] and to_safe_line(row["feature"], 60)
    people = tuple(Person(**{name: row[name] for name in names}) for row in rows)
    return People(people, rows[0]["total"], rows[0]["lately"], rows[0]["gone"])
