"""Owners who act: by skill and time, on the later life of an account alone; and those of known skill, for the sheet."""

from collections import Counter
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from features.core.errors import GarrisonError
from features.core.timestamps import DAY
from features.samples import contacts, responder, tickets, tidewater, usage
from features.samples.causes import State
from features.samples.contacts import CAUSES, PlannedContact
from features.samples.responder import Letter

MONTHS = 12
SPAN = tidewater._Span.ending(date(2026, 1, 1), MONTHS)


@pytest.fixture
def simulate(monkeypatch):
    """A chunk without usage and tickets, on which the chain does not depend."""
    for module in (usage, tickets):
        monkeypatch.setattr(module, "emit", lambda *_: {"account": np.zeros(0, int)})

    def make(accounts, *, owned=None, planned=(), cared=True, seed=7):
        company = tidewater._Company(SPAN, seed, cared, owned, planned)
        return company.simulate_chunk(range(accounts), tidewater._streams(seed, 0))

    return make


def plan_for_all(life, day, cause="usage"):
    return [PlannedContact(account, day, cause, f"e{account}") for account in life.people.ids.to_pylist()]


def states(life):
    return [dict(zip(m.account.tolist(), m.state.tolist(), strict=True)) for m in life.history.moments]


def test_who_is_not_contacted_lives_as_before_and_nobody_changes_before_the_contact(simulate):
    plain = simulate(400, cared=False)
    day = SPAN.as_ofs[4] + 3
    some = plan_for_all(plain, day)[:100]
    treated = simulate(400, planned=some)
    before, after = states(plain), states(treated)
    assert before[:5] == after[:5]
    assert before[5] != after[5]
    contacted = {int(contact.account_id[1:]) for contact in some}
    lapse = plain.history.outcomes.lapse != treated.history.outcomes.lapse
    assert set(np.flatnonzero(lapse)) <= contacted
    assert lapse.any()
    for one, other in zip(before[5:], after[5:], strict=True):
        assert {a: s for a, s in one.items() if a not in contacted} == {
            a: s for a, s in other.items() if a not in contacted
        }


def test_contacts_save_by_skill_and_cause_and_wake_sleeping_dogs(simulate):
    life = simulate(3_000)
    day = SPAN.as_ofs[6] + 1
    made = {c: simulate(3_000, planned=plan_for_all(life, day, c)).care for c in ("usage", "service")}
    shares = {}
    for cause, care in made.items():
        rows = care.list_made()
        assert set(rows["cause"]) == {CAUSES.index(cause)}
        fading, aggrieved = rows["state"] == State.FADING, rows["state"] == State.AGGRIEVED
        shares[cause] = (rows["effect"][fading] == 1).mean(), (rows["effect"][aggrieved] == 1).mean()
    assert shares["usage"][0] > 2 * shares["service"][0]
    assert shares["service"][1] > 2 * shares["usage"][1]
    rows, care = made["usage"].list_made(), made["usage"]
    asleep = care.sleeps[rows["account"]]
    harmed = rows["effect"] == -1
    assert harmed[asleep].mean() > 3 * harmed[~asleep].mean() > 0
    able = care.skill[rows["account"]] > 0.65
    troubled = contacts._TROUBLED[rows["state"]]
    saved = rows["effect"] == 1
    assert saved[able & troubled].mean() > 1.2 * saved[~able & troubled].mean()


def test_owners_of_known_skill_change_retention_and_their_books_hide_it(simulate):
    life = simulate(6_000, owned=20 / 6_000, seed=8)
    skill, owner = life.owners.skill, life.people.owner
    sick = np.bincount(owner, tidewater.owners.compute_given_risk(life.people)) / np.bincount(owner)
    assert np.ptp(sick) > 0.2
    traits, left, expected, rows = life.people.traits, np.zeros(20), np.zeros(20), np.zeros(20)
    for moment in life.history.moments[1:-3:3]:
        chance = tidewater.truth.compute_chances(traits.of(moment.account), moment.state, moment.as_of, 90)
        of = owner[moment.account]
        left += np.bincount(of, life.history.outcomes.churned(moment, 90), minlength=20)
        expected += np.bincount(of, chance.churn, minlength=20)
        rows += np.bincount(of, minlength=20)
    assert kendalltau(skill, -left / rows).statistic < 0.3
    assert kendalltau(skill, (expected - left) / rows).statistic > 0.5


def test_owners_act_by_their_share_and_have_no_time_for_more():
    owners = pa.table({"owner_email": ["quick", "idle"], "acts": [0.9, 0.1], "load": [1_000, 3]})
    letters = [
        Letter(f"{who}{n}", f"T{n}", who, "usage", 20_000 + 7 * (n // 40), float(n))
        for who in ("quick", "idle", "stranger")
        for n in range(400)
    ]
    planned = responder.plan_contacts(letters, owners, [])
    by_owner = Counter(contact.episode_id.rstrip("0123456789") for contact in planned)
    assert by_owner["quick"] == pytest.approx(360, abs=20)
    assert by_owner["idle"] < 40
    assert "stranger" not in by_owner
    idle = [contact for contact in planned if contact.episode_id.startswith("idle")]
    assert max(Counter(contact.day // 7 for contact in idle).values()) <= 3
    assert all(contact.day - 20_000 >= 1 for contact in planned)
    # Asked again with more letters, an owner goes on from what was planned.
    first = responder.plan_contacts([letter for letter in letters if letter.day < 20_020], owners, [])
    then = responder.plan_contacts(letters, owners, first)
    assert not {contact.episode_id for contact in first} & {contact.episode_id for contact in then}


def test_owners_acknowledge_as_they_call_and_state_what_came_of_it():
    letters = [Letter(f"e{n}", f"T{n}", "one", "usage", 100, 1.0) for n in range(60)]
    planned = [PlannedContact(letter.account_id, 103, "usage", letter.episode_id) for letter in letters]
    effects = [("faded", "saved"), ("steady", "none"), ("faded", "none")]
    truth = pa.Table.from_pylist(
        [
            {"account_id": f"T{n}", "at": (103 * DAY + 5 * 10**9), "cause": "usage", "state": state, "effect": effect}
            for n in range(60)
            for state, effect in [effects[n % 3]]
        ],
        schema=pa.schema([("account_id", pa.string()), ("at", pa.timestamp("us", "UTC")), ("cause", pa.string())])
        .append(pa.field("state", pa.string()))
        .append(pa.field("effect", pa.string())),
    )
    early = responder.find_acts(letters, planned, truth, since=100, until=110)
    assert Counter(act.act for act in early) == {"ack": 60}
    late = responder.find_acts(letters, planned, truth, since=110, until=120)
    stated = {act.act for act in late if int(act.episode_id[1:]) % 3 == 0}
    assert stated == {"saved"}
    assert {act.act for act in late if int(act.episode_id[1:]) % 3 == 1} == {"false_alarm"}
    assert not [act for act in late if int(act.episode_id[1:]) % 3 == 2]
    assert not responder.find_acts(letters, planned, truth, since=120, until=400)


def test_a_company_lives_on_as_the_same_company(tmp_path):
    asked = {"accounts": 100, "months": 6, "end": date(2026, 1, 1)}
    tidewater.write_sample(tmp_path / "short", until=date(2025, 10, 1), **asked)
    tidewater.write_sample(tmp_path / "long", until=date(2025, 12, 1), **asked)
    cut = np.datetime64("2025-10-01", "us")
    for name, column in (("usage", "used_at"), ("purchases", "purchased_at"), ("accounts", "created_at")):
        short, long = (pq.read_table(tmp_path / length / name).to_pandas() for length in ("short", "long"))
        kept = long[long[column].dt.tz_localize(None) < cut]
        assert 0 < len(short) < len(long)
        key = [c for c in short if c != "order_id"]
        assert short[key].reset_index(drop=True).equals(kept[key].reset_index(drop=True))
    with pytest.raises(GarrisonError, match="can't have lived until then"):
        tidewater.write_sample(tmp_path / "ahead", until=date(2026, 2, 1), **asked)


def test_too_many_owners_for_the_accounts_are_refused(tmp_path):
    with pytest.raises(GarrisonError, match="so many owners who differ"):
        tidewater.write_sample(tmp_path / "t", accounts=100, months=3, owners_differ=6)
