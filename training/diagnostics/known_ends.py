"""Find term ends that are filled in only when an account leaves: with them every feature of the term tells the label.

Nearly every export of subscriptions leaves the end empty while a subscription runs. A company whose contracts truly
end has ends that lie ahead, or terms that are renewed.
"""

from __future__ import annotations

from features.core.timestamps import DAY
from features.sources.history import History

# Ended terms that must be seen; the share of purchases without an end from which ends look filled in late; and the
# shares of ends that lie ahead, or are followed by another term, up to which they look so.
_FEWEST, _OPEN, _AHEAD, _FOLLOWED = 30, 0.2, 0.05, 0.2
_NEAR_DAYS = 45


def find_known_ends(history: History) -> dict[str, str]:
    """Find out whether the ends of terms are known only of those that left; return the suspect by source.

    Returns:
        Nothing where no term ends are mapped or fewer than 30 terms have ended.
    """
    if "purchases" not in history.sources:
        return {}
    at, near = history.last_event, _NEAR_DAYS * DAY
    sql = f"""
        WITH terms AS (
            SELECT account_id, term_ends_at AS ends, coalesce(term_starts_at, purchased_at) AS starts
            FROM purchases WHERE coalesce(kind, '') <> 'refund'
        ),
        ended AS (SELECT * FROM terms WHERE ends <= {at})
        SELECT count(*) FILTER (ends IS NULL) AS endless, count(*) FILTER (ends > {at}) AS ahead, count(*) AS terms,
            (SELECT count(*) FROM ended) AS ended,
            (SELECT count(*) FROM ended WHERE EXISTS (
                SELECT 1 FROM terms AS later WHERE later.account_id = ended.account_id
                AND later.starts > ended.starts AND abs(later.starts - ended.ends) <= {near}
            )) AS followed
        FROM terms
    """  # noqa: S608  # whole numbers
    endless, ahead, terms, ended, followed = (int(n) for n in history.query(sql).iloc[0])
    if ended < _FEWEST or endless < _OPEN * terms:
        return {}
    if ahead > _AHEAD * (ended + ahead) or followed > _FOLLOWED * ended:
        return {}
    return {
        "purchases": (
            f"ends of terms are known only of those that left: {endless:,} of {terms:,} terms have no end, and of the "
            f"{ended + ahead:,} with one {ahead:,} end later than the data and {followed:,} are followed by another "
            "term; so the end is filled in at the cancellation, and tells it beforehand (docs/labels.md: an empty end)"
        )
    }
