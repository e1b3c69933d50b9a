import sqlalchemy as sa

from features.settings.load import load_settings
from features.state import database
from features.state.tables import EPISODES, OUTBOX
from monitoring.replay import replay
from tests.support.past_company import MONDAYS, copy_past_company

SAME = (
    "id",
    "account_id",
    "kind",
    "opened_as_of",
    "closed_as_of",
    "owner",
    "expected",
    "play",
    "outcome",
    "message_id",
)


def read(settings, table, *columns):
    with database.open(settings) as store, store.reading() as connection:
        return sorted(map(repr, connection.execute(sa.select(*(table.c[c] for c in columns)))))


def run(settings, *, since=MONDAYS[0], until=None):
    return replay.run(settings, since=since, until=until or MONDAYS[-1].replace(day=30), with_curve=False)


def find_scratch(settings):
    """The state database in which the replay decided."""
    (file,) = [f for f in (settings.var / "replay").glob("runs-*/*.db") if f.stem not in {"scores", "models"}]
    return settings.model_copy(update={"state_url": f"sqlite:///{file.absolute()}"})


def test_a_replay_is_what_was_really_sent_message_by_message(past, tmp_path):
    settings = load_settings(copy_past_company(past, tmp_path / "copy"))
    result = run(settings)
    equality = result.equality
    assert (equality.runs, equality.missing, equality.added, equality.other_choices) == (8, 0, 0, 0)
    assert equality.is_equal
    assert equality.messages == len(read(settings, OUTBOX, "id")) > 15
    assert result.failed_acts == 0
    scratch = find_scratch(settings)
    # Recipient, account, kind and day of every message, and what became of each episode.
    assert read(scratch, EPISODES, *SAME) == read(settings, EPISODES, *SAME)
    assert read(scratch, OUTBOX, "id", "kind", "recipient", "subject", "body") == read(
        settings, OUTBOX, "id", "kind", "recipient", "subject", "body"
    )
    # What people did is among it.
    owners = read(settings, EPISODES, "owner")
    assert any("new@harbour.test" in owner for owner in owners)
    assert any("false_alarm" in outcome for outcome in read(scratch, EPISODES, "outcome"))


def test_other_settings_than_then_are_said_to_differ(past, tmp_path):
    config = copy_past_company(past, tmp_path / "copy")
    config.write_text(config.read_text(encoding="utf-8").replace("hours = 1.0", "hours = 0.5"), encoding="utf-8")
    equality = run(load_settings(config)).equality
    assert not equality.is_equal
    assert equality.missing > 0
    assert "settings, tables or scores have changed since" in equality.describe()
    assert any("was sent" in line for line in equality.differences)


def test_a_second_replay_repeats_nothing_and_says_the_same(past, tmp_path, monkeypatch):
    settings = load_settings(copy_past_company(past, tmp_path / "copy"))
    first = run(settings).as_dict()
    monkeypatch.setattr("monitoring.replay.reruns.run_alerts", lambda *_, **__: 1 / 0)
    assert run(settings).as_dict() == first
