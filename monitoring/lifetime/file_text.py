"""Print the lifetime file of an account for people, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from features.core.language import ENGLISH, say
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from monitoring.lifetime.account_file import AccountFile
from monitoring.lifetime.entry import Entry
from monitoring.lifetime.head import AccountHead
from monitoring.lifetime.like_use import BOUGHT_DAYS, USED_DAYS
from monitoring.lifetime.needs import Needs
from monitoring.lifetime.risk_course import RiskCourse

_STATES = {
    "left": "it has left",
    "not asked": "it is no customer that the scores ask about",
    "not scored": "it has no score yet",
}


def format_file(found: AccountFile) -> Iterator[str]:
    """Yield a file for people, line by line; people at the account apart."""
    yield from _format_head(found.head)
    yield from _format_course(found)
    for episode in found.episodes:
        kind = episode.kind.replace("_", " ")
        yield f"Open episode {episode.id[:8]}: {kind}, {episode.state}, since {_format_day(episode.opened_as_of)}"
    yield from _format_needs(found.needs)
    if found.promises:
        yield "\nPromised"
    for promise in found.promises:
        by = f" by {to_safe_line(promise.by, 40)}" if promise.by else ""
        text = to_safe_line(promise.text or "-", 120)
        yield f"  {text}{by}, due {_format_day(promise.due)}: {promise.find_state(found.now)}"
    timeline = found.timeline
    counts = ", ".join(f"{kind} {n:,}" for kind, n in timeline.counts.items() if n)
    yield f"\nTimeline ({counts or 'nothing yet'})"
    for entry in timeline.entries:
        yield f"  {_format_entry(entry)}"
    if timeline.after:
        yield f"  Earlier ones: --after {timeline.after}"


def _format_head(head: AccountHead) -> Iterator[str]:
    about = ", ".join(to_safe_line(str(value), 40) for value in head.about.values())
    yield f"{to_safe_line(head.name or head.account_id, 80)} ({to_safe_line(head.account_id)}), {about}"
    value = "not known" if head.value is None else f"{head.currency} {head.value:,.0f}"
    yield f"Customer since {_format_day(head.created_at)}; value a year {value}; as of {head.as_of:%Y-%m-%d}"
    if head.tier_reason:
        yield head.tier_reason
    if head.state in _STATES:
        yield f"State: {_STATES[head.state]}"
    binding = head.binding
    owner = binding.owner.address if binding.owner else f"nobody: {binding.fault}"
    teams = ", ".join(f"{team.address} ({cause})" for cause, team in binding.teams.items())
    sponsor = f"{binding.sponsor.address} ({binding.sponsor.title})" if binding.sponsor else "none"
    yield f"Owner {owner}; teams {teams or 'none'}; sponsor {sponsor}"
    if head.parent:
        yield f"Part of {to_safe_line(head.parent.name or head.parent.account_id)}"
    if head.children:
        names = ", ".join(to_safe_line(child.name or child.account_id, 40) for child in head.children)
        yield f"Its accounts: {names}"
    for contract in (c for c in head.contracts if c.state != "ended"):
        products = " and ".join(to_safe_line(p, 40) for p in contract.products) or "term"
        yield f"Contract {contract.state}: {products}, {contract.amount:,.0f}, ends {_format_day(contract.ends_at)}"


def _format_course(found: AccountFile) -> Iterator[str]:
    course: RiskCourse = found.course
    newest = course.newest
    if newest is None:
        yield "\nRisk: it has no score yet"
        return
    average = "" if course.base_rate is None else f"; of all accounts {100 * course.base_rate:.0f}"
    yield f"\nOf a hundred accounts like this {100 * newest.score:.0f} leave within {course.horizon} days{average}"
    for point in course.points[-12:]:
        ends = "" if point.low is None else f" ({point.low:.0%} to {point.high:.0%})"
        yield f"  {point.as_of:%Y-%m-%d} {point.score:.1%}{ends}"
    for reason in course.list_reasons(found.catalog):
        yield f"  {'why' if reason.raises else 'against it'}: {to_safe_line(reason.text, 200)}"
    for text in course.list_changes(found.catalog):
        yield f"  changed since the last score: {to_safe_line(text, 300)}"


def _format_needs(needs: Needs) -> Iterator[str]:
    yield "\nNeeds"
    for note in needs.notes:
        yield f"  stated, {_format_day(note.at)}: {to_safe_line(note.text, 120)}"
    for topic in needs.topics:
        yield f"  stated: {topic.tickets} tickets about {to_safe_line(topic.topic, 60)} in a year"
    for use in needs.uses:
        typical = "" if use.typical is None else f", of like accounts' {use.typical:.0%}"
        yield f"  individual: {to_safe_line(use.feature, 60)} is {use.share:.0%} of its use{typical}"
    for need in needs.hidden:
        done = f"used in {USED_DAYS} days" if need.kind == "feature" else f"bought in {BOUGHT_DAYS} days"
        yield f"  hidden: {to_safe_line(need.name, 60)}, {done} by {need.accounts} of {need.of} like accounts"
    if needs.like:
        words = ", ".join(needs.like.compared_by)
        yield f"  like accounts: the nearest {len(needs.like.account_ids)} of {needs.like.among:,} by {words}"


def _format_entry(entry: Entry) -> str:
    title, body = (to_safe_line(str(say(text, ENGLISH)), 160) if text else "" for text in (entry.title, entry.body))
    later = f" [known {entry.known_later:%Y-%m-%d}]" if entry.known_later else ""
    return f"{_format_day(entry.at)} {entry.kind}: {title}{f' ({body})' if body else ''}{later}"


def _format_day(instant: int | datetime) -> str:
    return f"{from_micros(instant) if isinstance(instant, int) else instant:%Y-%m-%d}"
