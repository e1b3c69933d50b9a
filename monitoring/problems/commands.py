"""The commands about the library of problems: update, list, show, search, make, change, merge, link, fix."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.core.user import name_user
from features.settings import cli
from features.settings.cli import CONFIG, AsOf, Config, Json, table, write_json
from features.settings.load import load_settings

if TYPE_CHECKING:
    from features.settings import Settings
    from features.state.database import Store
    from monitoring.problems.problem_money import ProblemMoney

app = typer.Typer(help="Known problems behind tickets, and what fixed them: search, name, merge, link, fix.")

Name = Annotated[str, typer.Argument(metavar="PROBLEM", help="Its id, the beginning of it, or its name.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who. Default: your name here.")]


@app.command()
def update(as_of: AsOf = None, config: Config = CONFIG, json: Json = None) -> None:
    """Take in new tickets and topics, count anew, and reopen problems whose fix did not hold. The night does it too."""
    from features.sources.history import History
    from monitoring.problems.library_update import update_library
    from training.models.dataset import find_data_until

    with _open(config) as (settings, store), History.open(settings) as history, cli.show_spinner("reading") as say:
        say("tickets and topics")
        found = update_library(settings, store, history, find_data_until(history, settings, as_of))
    print(*found.lines(), sep="\n")
    write_json(json, found.as_dict())


@app.command(name="list")
def list_problems(
    state: Annotated[str | None, typer.Option(help="Only these: new, known, workaround or fixed.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 40,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """List problems, those with the most tickets first: state, accounts, repeats, money, team."""
    from monitoring.problems import library, problem_money

    with _open(config) as (settings, store):
        with store.reading() as connection:
            problems = library.read_problems(connection)
        money = problem_money.read_money(settings)
    chosen = [problem for problem in problems if state in {None, problem.state}]
    amounts = f"{settings.company.currency} a quarter"
    right = ("tickets", "accounts", "repeats", amounts)
    rows = table(
        "problem", "name", "state", "tickets", "accounts", "repeats", amounts, "last seen", "team", right=right
    )
    for problem in chosen[:limit]:
        counts = (f"{n:,}" for n in (problem.tickets, problem.accounts, problem.repeats))
        told = str(money[problem.topic_id]) if problem.topic_id in money else ""
        seen = _format_day(problem.last_seen)
        rows.add_row(problem.id, problem.name, problem.shown_state, *counts, told, seen, problem.team or "")
    if chosen:
        cli.print_table(rows)
    else:
        print("No problem is in the library: `python -m monitoring problems update` makes them from topics.")
    if len(chosen) > limit:
        print(f"… and {len(chosen) - limit:,} more")
    write_json(json, {"problems": [p.as_dict() | _describe_money(money.get(p.topic_id or "")) for p in chosen]})


@app.command()
def show(name: Name, config: Config = CONFIG, json: Json = None) -> None:
    """Show a problem: cause, fixes with how often they worked, whether the rate fell, newest tickets, what was done."""
    from monitoring.problems.problem_file import read_problem_file

    with _open(config) as (settings, store):
        found = read_problem_file(settings, store, name)
    print(*found.lines(), sep="\n")
    write_json(json, found.as_dict())


@app.command()
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words of any language; or a new ticket's text.")],
    ticket: Annotated[bool, typer.Option("--ticket", help="TEXT is the id of a ticket: what is it about?")] = False,
    language: Annotated[str, typer.Option(help="Of the fixes shown: en or zh_Hans.")] = "en",
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Find the problems nearest to words or to a ticket, with what worked; and tickets that have these words."""
    from monitoring.problems.search import SearchResult, search_library
    from monitoring.problems.ticket_matches import find_for_ticket

    with _open(config) as (_, store), store.reading() as connection:
        began = time.perf_counter()
        if ticket:
            found = SearchResult(tuple(find_for_ticket(connection, text)), ())
        else:
            found = search_library(connection, text)
        took = time.perf_counter() - began
    near = found.problems
    print(f"{len(near)} problems in {1000 * took:.0f} ms, the nearest first" if near else "No problem is near to this.")
    for n, match in enumerate(near, 1):
        problem = match.problem
        counted = f"{problem.shown_state}, {problem.tickets:,} tickets of {problem.accounts:,} accounts"
        print(f"{n}. {problem.get_name(language)} ({problem.id}; {counted})")
        for fix in match.fixes[:2]:
            print(f"   worked {fix.worked:,} of {fix.worked + fix.failed:,}: {_shorten(fix.get_text(language))}")
        if not match.fixes:
            print("   no fix is known yet")
    if found.tickets:
        print(f"\nTickets: {len(found.tickets)}, the newest first")
        for one in found.tickets:
            print(f"   {_format_day(one.opened_at)} {one.ticket_id} ({one.account_id}) {_shorten(one.subject, 70)}")
    write_json(json, found.as_dict() | {"seconds": took})


@app.command()
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    cause: Annotated[str, typer.Option(help="What is behind it.")] = "",
    team: Annotated[str, typer.Option(help="Address of the team whose part the cause is.")] = "",
    by: By = None,
    config: Config = CONFIG,
) -> None:
    """Make a problem that no topic has shown."""
    from monitoring.problems import problem_acts

    with _open(config) as (_, store), store.writing() as connection:
        made = problem_acts.make_problem(connection, name, cause=cause, team=team, by=by or name_user())
    print(f"{made.id}: {made.name}")


@app.command()
def change(
    name: Name,
    called: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    cause: Annotated[str | None, typer.Option(help="What is behind it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Address of who answers for it.")] = None,
    team: Annotated[str | None, typer.Option(help="Address of the team whose part the cause is.")] = None,
    state: Annotated[str | None, typer.Option(help="new, known, workaround or fixed.")] = None,
    by: By = None,
    config: Config = CONFIG,
) -> None:
    """Name a problem, its cause, who answers for it, and its state."""
    from monitoring.problems import library, problem_acts

    given = {"name": called, "cause": cause, "owner": owner, "team": team, "state": state}
    changes = {key: value for key, value in given.items() if value is not None}
    with _open(config) as (_, store), store.writing() as connection:
        problem = library.find_problem(connection, name)
        changed = problem_acts.change_problem(connection, problem, changes, by=by or name_user())
    print(f"{changed.id}: {changed.name}, {changed.shown_state}")


@app.command()
def merge(
    name: Name,
    into: Annotated[str, typer.Argument(metavar="INTO", help="The problem that it becomes a part of.")],
    by: By = None,
    config: Config = CONFIG,
) -> None:
    """Merge a problem into another one, with its tickets and fixes."""
    from monitoring.problems import library, problem_acts

    with _open(config) as (settings, store):
        with store.writing() as connection:
            source, target = library.find_problem(connection, name), library.find_problem(connection, into)
            merged = problem_acts.merge_problems(connection, source, target, by=by or name_user())
        _count(settings, store)
    print(f"{source.name} is a part of {merged.name} ({merged.id}) now.")


@app.command()
def link(
    name: Annotated[str, typer.Argument(metavar="PROBLEM", help="Its id or name; - takes the link away.")],
    tickets: Annotated[list[str], typer.Argument(metavar="TICKET…", help="Ids of tickets.")],
    by: By = None,
    config: Config = CONFIG,
) -> None:
    """Link tickets to a problem; topics never change this again."""
    from monitoring.problems import library, problem_acts

    with _open(config) as (settings, store):
        with store.writing() as connection:
            problem = None if name == "-" else library.find_problem(connection, name)
            linked = problem_acts.link_tickets(connection, problem, tickets, by=by or name_user())
        _count(settings, store)
    print(f"{linked:,} tickets linked to {problem.name}." if problem else f"{linked:,} tickets have no problem now.")


@app.command()
def fix(
    name: Name,
    text: Annotated[str, typer.Option("--text", help="What to do, in English.")] = "",
    chinese: Annotated[str, typer.Option("--zh", metavar="TEXT", help="The same in Chinese.")] = "",
    removes_cause: Annotated[
        bool, typer.Option("--removes-cause", help="The cause is gone: from now on the rate should fall.")
    ] = False,
    as_of: AsOf = None,
    by: By = None,
    config: Config = CONFIG,
) -> None:
    """Give a problem a fix. A fix that removes the cause is watched: if the rate does not fall, it is reopened."""
    from monitoring.problems import library, problem_acts

    with _open(config) as (settings, store):
        with store.writing() as connection:
            problem = library.find_problem(connection, name)
            texts = {"en": text, "zh_Hans": chinese}
            given = {"by": by or name_user(), "removes_cause": removes_cause, "now": as_of}
            problem_acts.give_fix(connection, problem, texts, **given)  # type: ignore[arg-type]  # by name
        _count(settings, store)
    print(f"{problem.name} ({problem.id}) has a fix{' and should be gone' if removes_cause else ''}.")


@contextmanager
def _open(config: Path) -> Iterator[tuple[Settings, Store]]:
    from features.state import database

    settings = load_settings(config)
    with closing(database.open(settings)) as store:
        yield settings, store


def _count(settings: Settings, store: Store) -> None:
    """Count anew after an act, as of the newest ticket."""
    from monitoring.problems.problem_file import count_now

    count_now(settings, store)


def _format_day(at: int | None) -> str:
    from features.core.timestamps import from_micros

    return "" if at is None else f"{from_micros(at):%Y-%m-%d}"


def _shorten(text: str, most: int = 160) -> str:
    from features.core.safe_line import to_safe_line

    return to_safe_line(text, most) if text else ""


def _describe_money(money: ProblemMoney | None) -> dict[str, object]:
    return {"money": money.as_dict()} if money else {}


def register(parent: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    parent.add_typer(app, name="problems")
