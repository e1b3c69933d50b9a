"""The commands about episodes: list them, tell the course of one, act on one, and mute an account."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.core.errors import GarrisonError
from features.core.user import name_user
from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings

if TYPE_CHECKING:
    from monitoring.alerts.acts import EpisodeView

EpisodeId = Annotated[str, typer.Argument(metavar="EPISODE", help="The episode's id, or the beginning of it.")]
AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who acts. Default: your name on this machine.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the episode.")]
Version = Annotated[
    int | None,
    typer.Option("--version", min=1, help="Of the episode as you saw it: refused if somebody decided since."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check it, and change nothing.")]
Until = Annotated[
    datetime, typer.Option(parser=cli.parse_date, metavar="DATE", help="Until this day, not including it.")
]
Kind = Annotated[str | None, typer.Option("--kind", help="Of the alerts, such as churn or upsell. Default: all.")]


def episodes(
    closed: Annotated[bool, typer.Option("--closed", help="List closed ones too.")] = False,
    events: Annotated[str | None, typer.Option("--events", metavar="ID", help="Tell the course of this one.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """List the open episodes, newest first; or tell the course of one."""
    from features.sources.history import History
    from features.state import database
    from monitoring.alerts import acts, episode_report
    from monitoring.binding.account_records import read_records

    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        if events is not None:
            episode = acts.find_episode(state, events)
            course = episode_report.read_course(state, episode)
            print(*episode_report.format_course(episode, course), sep="\n")
            write_json(json, {"episode": asdict(episode), "events": course})
            return
        rows = episode_report.read_episodes(state, closed=closed)
    print(f"{len(rows):,} episodes{'' if closed else ' are open'}")
    if rows:
        with History.open(settings) as history:
            contacts = read_records(history, {row["account_id"] for row in rows})
        cli.print_table(episode_report.tabulate_episodes(rows, contacts))
    write_json(json, {"episodes": rows})


def ack(  # one for each option
    episode: EpisodeId,
    by: By = None,
    reason: Reason = "",
    version: Version = None,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Acknowledge an episode: say that you are at it."""
    from features.state import database
    from monitoring.alerts import acts

    with closing(database.open(load_settings(config))) as state:
        given: dict[str, Any] = {"by": by or name_user(), "version": version, "dry_run": dry_run}
        after = acts.acknowledge(state, episode, reason=reason, **given)
    _say(after, "acknowledged", dry_run=dry_run)
    write_json(json, asdict(after) | {"dry_run": dry_run})


def snooze(  # one for each option
    episode: EpisodeId,
    until: Until,
    by: By = None,
    reason: Reason = "",
    version: Version = None,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Let an episode rest: from that day on, its owner is told again if it still lasts."""
    from features.state import database
    from monitoring.alerts import acts

    with closing(database.open(load_settings(config))) as state:
        given: dict[str, Any] = {"by": by or name_user(), "version": version, "dry_run": dry_run}
        after = acts.snooze(state, episode, until=until, reason=reason, **given)
    _say(after, f"snoozed until {until:%Y-%m-%d}", dry_run=dry_run)
    write_json(json, asdict(after) | {"dry_run": dry_run})


def close(  # one for each option
    episode: EpisodeId,
    outcome: Annotated[str, typer.Option("--as", metavar="OUTCOME", help="saved, false-alarm, left or recovered.")],
    by: By = None,
    reason: Reason = "",
    version: Version = None,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Close an episode with what became of it; a false alarm needs its reason."""
    from features.state import database
    from monitoring.alerts import acts

    with closing(database.open(load_settings(config))) as state:
        given: dict[str, Any] = {"by": by or name_user(), "version": version, "dry_run": dry_run}
        after = acts.close(state, episode, outcome=outcome.replace("-", "_"), reason=reason, **given)
    _say(after, f"closed as {outcome.replace('_', '-')}", dry_run=dry_run)
    write_json(json, asdict(after) | {"dry_run": dry_run})


def hand_over(  # one for each option
    episode: EpisodeId,
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="The e-mail address of who takes it on.")],
    by: By = None,
    reason: Reason = "",
    version: Version = None,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Give an episode to another person, whatever the account's record says."""
    from features.state import database
    from monitoring.alerts import acts, episode_report

    with closing(database.open(load_settings(config))) as state:
        given: dict[str, Any] = {"by": by or name_user(), "version": version, "dry_run": dry_run}
        after = acts.hand_over(state, episode, to=to, reason=reason, **given)
    _say(after, f"handed over to {episode_report.show_owner(after.owner)}", dry_run=dry_run)
    write_json(json, asdict(after) | {"dry_run": dry_run})


def mute(  # one for each option
    account: Annotated[str | None, typer.Argument(metavar="ACCOUNT", help="Its id; without it: what is muted.")] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=cli.parse_date, metavar="DATE", help="Until this day, not including it."),
    ] = None,
    reason: Reason = "",
    kind: Kind = None,
    by: By = None,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Let no alert be raised on an account for a while; without an account, list what is muted."""
    from features.sources.history import History
    from features.state import database
    from monitoring.alerts import mutes
    from monitoring.binding.account_records import read_records

    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        if account is not None:
            if until is None:
                raise typer.BadParameter("say until when", param_hint="--until")
            with History.open(settings) as history:
                if account not in read_records(history, [account]):
                    raise GarrisonError(f"there is no account {account}", hint="Name it as the accounts table does")
            mutes.mute(state, account, until=until, kind=kind, reason=reason, by=by or name_user(), dry_run=dry_run)
            print(f"{'Would mute' if dry_run else 'Muted'}: {account} until {until:%Y-%m-%d}.")
        rows = mutes.read_mutes(state)
    for row in rows if account is None else ():
        of_kind = f", {row['kind']} alone" if row["kind"] else ""
        print(f"{row['account_id']} until {mutes.format_day(row['until'])}{of_kind}: {row['reason']} ({row['by']})")
    if account is None and not rows:
        print("Nothing is muted.")
    write_json(json, {"mutes": [row | {"until": mutes.format_day(row["until"])} for row in rows], "dry_run": dry_run})


def unmute(account: AccountId, kind: Kind = None, dry_run: DryRun = False, config: Config = CONFIG) -> None:
    """Let alerts be raised on an account again."""
    from features.state import database
    from monitoring.alerts import mutes

    with closing(database.open(load_settings(config))) as state:
        number = mutes.unmute(state, account, kind=kind, dry_run=dry_run)
    print(f"{'Would end' if dry_run else 'Ended'} {number} {'mute' if number == 1 else 'mutes'} of {account}.")


def _say(after: EpisodeView, done: str, *, dry_run: bool) -> None:
    prefix = "Would be" if dry_run else "It is"
    print(f"{after.id[:8]}, account {after.account_id}. {prefix} {done}; version {after.version}.")


def register(app: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    for command in (episodes, ack, snooze, close, mute, unmute):
        app.command()(command)
    app.command(name="hand-over")(hand_over)
