"""The commands of the journey: build the map, show it, and decide about its topics."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any

import typer

from features.core.safe_line import to_safe_line
from features.settings import cli
from features.settings.cli import CONFIG, AsOf, Config, Json, write_json
from features.settings.load import load_settings
from monitoring.journey.topic import TABS, Topic

app = typer.Typer(help="The journey and pain map: which topics of tickets hit whom at which stage, and what they cost.")

TopicName = Annotated[str, typer.Argument(metavar="TOPIC", help="Its id, or its name in quotes.")]
_SHOWN = 12


@app.command()
def build(
    as_of: AsOf = None,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Tickets of before keep their topics; new ones join the nearest.")
    ] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Find the topics of tickets, and what each cost in the last quarter; people's decisions and ids are kept."""
    from features.sources.history import History
    from features.state import database
    from monitoring.journey.journey_map import build_map
    from monitoring.journey.topics import read_topics

    settings = load_settings(config)
    with closing(database.open(settings)) as store, History.open(settings) as history:
        with cli.show_spinner("journey:") as say:
            found = build_map(settings, history, store, as_of=as_of, is_new_only=new_only, progress=say)
        print(
            f"{len(found['topics']):,} topics in {found['quarter']:,} tickets of 90 days, by {found['source']}; "
            f"{found['untold']:,} are like no topic yet"
        )
        print_map(found, read_topics(settings, store), 5)
    write_json(json, found)


@app.command()
def show(
    limit: Annotated[int, typer.Option(min=1, help="Topics shown at most, the costliest first.")] = _SHOWN,
    tab: Annotated[str | None, typer.Option(help=f"Of this tab alone: {', '.join(TABS)}.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Show the topics of the last build with what each costs, the costliest first."""
    from features.core.errors import GarrisonError
    from features.state import database
    from monitoring.journey.journey_map import read_map
    from monitoring.journey.topics import read_topics

    settings = load_settings(config)
    found = read_map(settings)
    if found is None:
        raise GarrisonError("there is no map yet", hint="Make it: python -m monitoring journey build")
    with closing(database.open(settings)) as store:
        topics = read_topics(settings, store)
    print_map(found, topics, limit, tab)
    write_json(json, found)


def print_map(found: dict[str, Any], topics: list[Topic], limit: int, tab: str | None = None) -> None:
    """Print the costliest topics as a table, with what the reader should know about the figures."""
    table = cli.table(
        "topic", "tab", "tickets", "accounts", "hours", "leave, points", "lost a quarter (association)", "team",
        right=("tickets", "accounts", "hours", "leave, points"),
    )  # fmt: skip
    for cells in _iterate_rows(found, {t.topic_id: t for t in topics}, limit, tab):
        table.add_row(*cells)
    cli.print_table(table)
    if found["effects"]:
        e = found["effects"]
        print(
            f"Association, not proof: {e['accounts']:,} accounts by week, {e['since'][:10]} to {e['until'][:10]}, "
            f"against like accounts not hit (score before, tier, term, tickets before). * stands out among all topics."
        )
    for note in found["notes"]:
        print(f"Note: {note}")


def _iterate_rows(
    found: dict[str, Any], topics: dict[str, Topic], limit: int, tab: str | None
) -> Iterator[tuple[str, ...]]:
    shown = [cost for cost in found["topics"] if cost["topic_id"] in topics]
    for cost in [c for c in shown if tab is None or topics[c["topic_id"]].tab == tab][:limit]:
        topic, effect, lost = topics[cost["topic_id"]], cost["effect"], cost["lost"]
        points = f"{100 * effect['effect']:+.1f}{'*' if effect['is_told'] else ''}" if effect else "too few"
        money = "-"
        if lost:
            money = f"{found['currency']} {lost['amount']:,.0f} ({lost['low']:,.0f} to {lost['high']:,.0f})"
        yield (
            f"{to_safe_line(topic.get_name(), 44)}\n{topic.topic_id}{' (pinned)' if topic.is_pinned else ''}",
            topic.tab,
            f"{cost['tickets']:,}",
            f"{cost['accounts']:,}",
            "-" if cost["hours"] is None else f"{cost['hours']:,.0f}",
            points,
            money,
            (topic.team or "-").partition("@")[0],
        )


@app.command()
def rename(topic: TopicName, name: Annotated[str, typer.Argument()], config: Config = CONFIG) -> None:
    """Give a topic a name, in every language."""
    _decide(config, "rename_topic", topic, name)


@app.command()
def merge(topic: TopicName, into: Annotated[str, typer.Argument()], config: Config = CONFIG) -> None:
    """Let a topic become a part of another one."""
    _decide(config, "merge_topics", topic, into)


@app.command()
def pin(topic: TopicName, config: Config = CONFIG) -> None:
    """Pin a topic: every rebuild keeps it."""
    _decide(config, "pin_topic", topic)


@app.command()
def unpin(topic: TopicName, config: Config = CONFIG) -> None:
    """Let a rebuild change a topic again."""
    _decide(config, "pin_topic", topic, is_pinned=False)


@app.command()
def team(topic: TopicName, address: Annotated[str, typer.Argument()], config: Config = CONFIG) -> None:
    """Name the team that owns a topic: it hears when the topic rises."""
    _decide(config, "set_team", topic, address)


@app.command()
def tab(topic: TopicName, name: Annotated[str, typer.Argument(metavar="TAB")], config: Config = CONFIG) -> None:
    """Move a topic to another tab: doubts, friction, complaints or wishes."""
    _decide(config, "move_to_tab", topic, name)


@app.command()
def split(
    topic: TopicName,
    parts: Annotated[int, typer.Option(min=2, help="Into so many parts.")] = 2,
    config: Config = CONFIG,
) -> None:
    """Split a topic into parts by its texts; the next build assigns its tickets to them."""
    from features.sources.history import History
    from features.state import database
    from monitoring.journey import topic_acts

    settings = load_settings(config)
    with closing(database.open(settings)) as store, History.open(settings) as history:
        made = topic_acts.split_topic(settings, history, store, topic, parts, by=getpass.getuser())
    print(f"{made.topic_id} is split into {', '.join(made.value['parts'])}. The next build assigns its tickets.")


def _decide(config: Config, act: str, topic: str, *values: str, **flags: bool) -> None:
    from features.state import database
    from monitoring.journey import topic_acts

    settings = load_settings(config)
    with closing(database.open(settings)) as store:
        made = getattr(topic_acts, act)(settings, store, topic, *values, by=getpass.getuser(), **flags)
    said = ", ".join(str(value) for key, value in made.value.items() if key != "members")
    print(f"{made.topic_id}: {made.decision} {said}".rstrip())


def register(parent: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    parent.add_typer(app, name="journey")
