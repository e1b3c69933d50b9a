"""The manager's one sheet: owners are held against the risk they were given, and ranked by their skill."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from scipy.stats import kendalltau

from features.core.timestamps import to_micros
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.reports import owner_sheet
from monitoring.reports.owner_risk import LEAST, compare_groups
from monitoring.reports.owner_service import Waiting
from monitoring.reports.shrinkage import shrink_ratios
from monitoring.reports.stored_reports import read_report
from tests.support.commands import run_command

OWNERS, ACCOUNTS = 20, 250


def simulate(seed):
    """Return spells and owners' skills: the able are given the sick accounts, as companies do."""
    rng = np.random.default_rng(seed)
    skill = rng.permutation(np.linspace(0, 1, OWNERS))
    owner = np.repeat(np.arange(OWNERS), ACCOUNTS)
    sickness = rng.beta(1.5, 8, OWNERS * ACCOUNTS) * (0.4 + 1.2 * skill[owner])
    left = rng.random(len(owner)) < sickness * (1.3 - 0.9 * skill[owner])
    accounts = [f"A{n}" for n in range(len(owner))]
    spells = pd.DataFrame({"account_id": accounts, "as_of": 0, "score": sickness, "value": 10.0, "left": left * 1.0})
    return spells, pd.Series([f"o{n}@x.test" for n in owner]), {f"o{n}@x.test": s for n, s in enumerate(skill)}


@pytest.mark.parametrize("seed", range(5))
def test_the_sheet_ranks_owners_by_skill_where_raw_retention_does_not(seed):
    spells, owners, skill = simulate(seed)
    found = compare_groups(spells, owners)
    names = sorted(found)
    skills = [skill[name] for name in names]
    assert kendalltau(skills, [-found[name].ratio for name in names])[0] >= 0.6
    assert kendalltau(skills, [found[name].retention for name in names])[0] <= 0.3


def test_owners_who_do_not_differ_are_not_told_apart():
    rng, told = np.random.default_rng(3), 0
    for _ in range(40):
        expected = rng.uniform(5, 40, 20)
        ratios = shrink_ratios(rng.poisson(expected), expected)
        told += sum(r.low > 1 or r.high < 1 for r in ratios)
    assert told <= 0.025 * 800  # of 800 owners without any difference


def test_intervals_hold_the_truth():
    rng, held, n = np.random.default_rng(5), 0, 0
    for _ in range(40):
        rates = rng.gamma(10, 0.1, 25)
        expected = rng.uniform(5, 60, 25)
        for ratio, rate in zip(shrink_ratios(rng.poisson(rates * expected), expected), rates, strict=True):
            held, n = held + (ratio.low <= rate <= ratio.high), n + 1
    assert 0.92 <= held / n <= 0.985


def test_too_few_accounts_tell_nothing():
    spells, owners, _ = simulate(1)
    few = owners.where(owners != "o3@x.test", "rest")
    few[owners[owners == "o3@x.test"].index[: LEAST - 1]] = "o3@x.test"
    found = compare_groups(spells, few)
    assert found["o3@x.test"].ratio is None
    assert found["o3@x.test"].accounts == LEAST - 1
    assert sum(one.expected for one in found.values()) == pytest.approx(sum(one.left for one in found.values()))


def test_waiting_is_summed_in_hours():
    hours = pd.Series([3.6e9, 7.2e9, None, 36e9])
    assert Waiting.of(hours, 8) == Waiting(3, 2.0, pytest.approx(8.4), pytest.approx(2 / 3))


@pytest.fixture
def kept(company):
    """Sixty accounts of three owners; ann's all stay, and half of bea's leave, at the same risk."""
    names = {f"K{n:02}": ("ann", "bea", "cem")[n // 20] + "@owners.test" for n in range(60)}
    company.accounts(names)
    stays = [a for n, a in enumerate(names) if n < 20 or (n < 40 and n % 2) or (n >= 40 and n % 5)]
    buys = [f"{a},2024-{month:02}-02,10" for a in names for month in range(1, 7)]
    company.purchases(buys + [f"{a},2024-{month:02}-02,10" for a in stays for month in range(7, 13)])
    for at in ("2024-04-01", "2024-07-01"):
        company.score(at, dict.fromkeys(names, 0.2))
    return company


def test_the_command_prints_the_sheet_and_keeps_it_for_the_console(kept):
    written = kept.folder / "sheet.json"
    since = ("--from", "2024-06-20", "--to", "2024-07-02")
    answer = run_command("monitoring", "owners", *since, "--config", str(kept.file), "--json", str(written))
    assert "Answer for: more left than the risk given says" in answer.stdout
    sheet = json.loads(written.read_text())
    rows = {row["name"].partition("@")[0]: row for row in sheet["owners"]}
    assert [row["name"][:3] for row in sheet["owners"]] == ["ann", "cem", "bea"]
    assert (rows["ann"]["risk"]["left"], rows["bea"]["risk"]["left"], rows["cem"]["risk"]["left"]) == (0, 10, 4)
    assert rows["ann"]["risk"]["expected"] == pytest.approx(14 / 3)
    assert rows["ann"]["risk"]["ratio"] < 1 < rows["bea"]["risk"]["ratio"]
    assert rows["ann"]["risk_before"] is None
    stored = read_report(owner_sheet.locate_sheet(kept.settings))
    assert {key: stored[key] for key in sheet} == sheet


def test_alerts_count_for_whoever_was_told_and_unanswered_ones_are_answered_for(kept):
    told = to_micros(datetime(2024, 6, 25, 9, tzinfo=UTC))
    with kept.state.writing() as connection:
        for n in range(20):
            row = {"id": f"e{n}", "account_id": f"K{n:02}", "kind": "churn", "state": "notified", "version": 1}
            row |= {"opened_as_of": told, "last_as_of": told, "owner": "ann@owners.test"}
            connection.execute(sa.insert(EPISODES), row)
            event = {"episode_id": f"e{n}", "seq": 1, "at": told, "event": "notified", "by": "deliver", "details": {}}
            connection.execute(sa.insert(EPISODE_EVENTS), event)
    # No score table, no tiers: nothing says how soon an alert must be answered.
    span = {"since": datetime(2024, 6, 20, tzinfo=UTC), "until": datetime(2024, 7, 2, tzinfo=UTC)}
    sheet = owner_sheet.run(kept.settings, **span)
    assert {row.name[:3]: row.service.due for row in sheet.owners} == {"ann": 0, "bea": 0, "cem": 0}
    tiers = dict.fromkeys((f"K{n:02}" for n in range(20)), "A")
    alerts = owner_sheet.read_alerts(kept.settings, kept.state, tiers, *span.values())
    assert (len(alerts), alerts["is_due"].all(), alerts["is_answered"].any()) == (20, True, False)
    with kept.state.writing() as connection:
        soon = told + int(timedelta(hours=1).total_seconds() * 1e6)
        connection.execute(sa.update(EPISODES).where(EPISODES.c.id == "e1").values(acknowledged_at=soon))
    alerts = owner_sheet.read_alerts(kept.settings, kept.state, tiers, *span.values())
    assert alerts["is_answered"].sum() == 1
    row = owner_sheet.OwnerRow(
        "ann@owners.test",
        "",
        20,
        1.0,
        owner_sheet.measure_service(kept.settings, owner_sheet.read_tickets(_NoTickets(), *span.values()), alerts),
        None,
        None,
    )
    assert (row.flag, row.service.answered_share) == ("answer for", pytest.approx(0.05))


class _NoTickets:
    tables = ()
