"""Who was told of an account is known to training: saves are not taken for accounts that would have stayed anyway."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from features.core.timestamps import DAY, to_micros
from features.settings import Settings
from features.state import database
from features.state.tables import ALERT_RUNS, EPISODE_EVENTS, EPISODES, SCORES
from tests.support.commands import run_command
from training.fitting.treatment import Treatments, read_treatments, repeat_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
AT = to_micros(START)


@pytest.fixture
def settings(tmp_path):
    plain = {
        "company": {"name": "Told"},
        "paths": {"var": str(tmp_path / "var")},
        "sources": {"rows": {"path": "rows.csv"}},
        "tables": {"accounts": {"source": "rows", "columns": {"account_id": "id", "created_at": "created"}}},
        "churn": {"cohort": {"kind": "lifetime"}, "label": {"kind": "ended"}},
    }
    return Settings.model_validate(plain)


def write_episodes(settings, episodes, scores=()):
    """Episodes as (account, kind, as_of in days, what happened to it); scores as (account, as_of in days, score)."""
    with database.open(settings) as store, store.writing() as connection:
        for number, (account, kind, day, *events) in enumerate(episodes):
            row = {"id": f"e{number}", "account_id": account, "kind": kind, "state": "open", "version": 1}
            instant = AT + day * DAY
            connection.execute(sa.insert(EPISODES), row | {"opened_as_of": instant, "last_as_of": instant})
            for seq, event in enumerate(["opened", *events], 1):
                made = {"episode_id": row["id"], "seq": seq, "at": instant, "event": event, "by": "run", "details": {}}
                connection.execute(sa.insert(EPISODE_EVENTS), made)
        for day in sorted({day for _, day, _ in scores}):
            ran = {"target": "churn", "as_of": AT + day * DAY, "horizon": 90, "model": "m", "enter": 0.5, "leave": 0.3}
            connection.execute(sa.insert(ALERT_RUNS), ran | {"run_at": AT})
        for account, day, score in scores:
            row = {"account_id": account, "as_of": AT + day * DAY, "target": "churn", "horizon": 90, "score": score}
            rest = {"model": "m", "catalog": "c", "sources": "s", "in_cohort": True, "drivers": [], "scored_at": AT}
            connection.execute(sa.insert(SCORES), row | rest)


def ask(treatments, account, day, days=90):
    start = np.array([AT + day * DAY])
    return bool(treatments.find_treated(pd.Series([account]), start, start + days * DAY)[0])


def test_a_company_without_alerts_has_no_treatments_and_gets_no_database(settings):
    assert read_treatments(settings, "churn", START) is None
    assert not database.exists(settings)
    write_episodes(settings, [("A", "churn", 0)])
    assert read_treatments(settings, "churn", START + timedelta(days=1)) is None  # opened, and nobody has heard of it


def test_told_counts_from_shortly_before_the_row_to_the_end_of_its_label(settings):
    write_episodes(settings, [("A", "churn", 100, "notified"), ("B", "upsell", 100, "acknowledged")])
    found = read_treatments(settings, "churn", START + timedelta(days=365))
    answers = {day: ask(found, "A", day) for day in (9, 10, 11, 100, 113, 114, 115)}
    assert answers == {9: False, 10: False, 11: True, 100: True, 113: True, 114: True, 115: False}
    assert not any(ask(found, account, 90) for account in ("B", "unknown"))
    assert ask(read_treatments(settings, "upsell", START + timedelta(days=365)), "B", 90)


def test_what_owners_were_told_later_is_not_known_then(settings):
    write_episodes(settings, [("A", "churn", 100, "notified"), ("A", "renewal_near", 10, "notified")])
    assert not ask(read_treatments(settings, "churn", START + timedelta(days=100)), "A", 90)
    assert ask(read_treatments(settings, "churn", START + timedelta(days=101)), "A", 90)


def test_rows_that_were_spared_count_for_like_ones_that_were_not(settings):
    risky, calm = [f"r{n:03}" for n in range(100)], [f"c{n:03}" for n in range(100)]
    told = [(account, "churn", 0, "notified") for account in risky[::2]]
    scores = [(a, 0, 0.6 + n / 1e3) for n, a in enumerate(risky)] + [(a, 0, n / 1e3) for n, a in enumerate(calm)]
    later = [(a, 50, score) for a, _, score in scores]
    write_episodes(settings, told + [(a, "churn", 50, "notified") for a in calm], scores + later)
    found = read_treatments(settings, "churn", START + timedelta(days=365))
    spared = pd.Series([*risky[1::2], *calm])
    starts = np.full(len(spared), AT)
    weights = found.compute_weights(spared, starts, starts + 30 * DAY, known_by=AT + DAY)
    assert weights[:50].mean() == pytest.approx(2.0, rel=0.1)
    assert weights[50:].mean() == pytest.approx(1.0, abs=0.1)
    assert (found.compute_weights(spared, starts, starts + 30 * DAY, known_by=AT) == 1).all()
    # What the run of the fiftieth day did is not known on the first.
    assert (found.compute_weights(spared, starts + 15 * DAY, starts + 30 * DAY, known_by=AT + 99 * DAY) == 1).all()


def test_rows_are_repeated_as_often_as_they_weigh():
    rows, weights = np.arange(4_000), np.tile([1.0, 1.25, 2.0, 3.5], 1_000)
    repeated = repeat_rows(rows, weights, seed=3)
    times = np.bincount(repeated, minlength=4_000).reshape(-1, 4)
    assert (times[:, [0, 2]] == [1, 2]).all()
    assert times[:, 1].mean() == pytest.approx(1.25, abs=0.05)
    assert times[:, 3].mean() == pytest.approx(3.5, abs=0.05)
    few = repeat_rows(rows[10:20], weights, seed=3)
    assert [*few] == [row for row in repeated if 10 <= row < 20]


def test_five_rounds_of_saves_poison_what_counts_them_and_not_what_weighs():
    """The mechanism alone: risk known, owners told of most of the risky, half of those told saved."""
    rng = np.random.default_rng(5)
    n, names = 4_000, pd.Index([f"a{i:04}" for i in range(4_000)])
    naive, honest, true = [], [], []
    for number in range(5):
        risk = rng.uniform(0.02, 0.6, n)
        is_told = rng.random(n) < np.where(risk > 0.4, 0.7, 0.05)
        leaves = (rng.random(n) < risk) & ~(is_told & (rng.random(n) < 0.5))
        keys = np.arange(n) * 10**10 + (AT + number * 100 * DAY) // 10**6
        found = Treatments(names, keys[is_told], keys, risk)
        starts = np.full(n, AT + number * 100 * DAY)
        treated = found.find_treated(pd.Series(names), starts, starts + 90 * DAY)
        weights = found.compute_weights(pd.Series(names), starts, starts + 90 * DAY, known_by=10**16)
        assert (treated == is_told).all()
        high = risk > 0.4
        true.append(risk[high].mean())
        naive.append(leaves[high].mean())
        honest.append(np.average(leaves[high & ~treated], weights=weights[high & ~treated]))
    assert np.mean(naive) < np.mean(true) - 0.12
    assert np.mean(honest) == pytest.approx(np.mean(true), abs=0.02)


@pytest.mark.parametrize(("choice", "said"), [("column", "are treated"), ("leave_out", "are left out")])
def test_the_command_and_the_card_say_who_was_treated(slim, tmp_path, choice, said):
    company = slim.vary(tmp_path / choice, ("[training]\n", f'[training]\ntreated = "{choice}"\n'))
    opened, told = (datetime(2023, 6, 5, tzinfo=UTC) - START).days, company.tables["accounts"]["account_id"][::5]
    write_episodes(company.settings, [(account, "churn", opened, "notified") for account in told])
    done = run_command("training", "fit", "--config", company.file, cwd=company.folder)
    assert done.returncode == 0, done.stderr
    number = re.search(rf"30 days: ([\d,]+) rows {said}: alerts told owners to act", done.stderr)
    assert 10 < int(number[1].replace(",", "")) <= 2 * len(told)
    (card,) = company.folder.rglob("card.html")
    assert f"{number[1]} rows {said}: alerts told owners to act" in card.read_text()
