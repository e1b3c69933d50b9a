from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

from features.settings import Alerts
from features.settings.alerts import Links
from features.settings.binding import Binding, WorkingTime
from monitoring.alerts.mailing import MailingRules, Notice
from monitoring.alerts.spoken import Spoken
from monitoring.binding.bindings import AccountBinding, Recipient
from monitoring.binding.working_time import WorkCalendar
from monitoring.letters.account_risk import AccountRisk
from monitoring.letters.links import LinkSigner

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)  # a Saturday
CALENDAR = WorkCalendar(WorkingTime(), "UTC")
ANN = Recipient("Ann@us.example", "owner", "", CALENDAR)
DESK = Recipient("desk@us.example", "owner", "You get this because it has no owner.", CALENDAR, is_fallback=True)
TEAM = Recipient("adoption@us.example", "team", "", CALENDAR, title="usage")
CHIEF = Recipient("ceo@us.example", "sponsor", "", CALENDAR, title="chief executive")
USE = {"text": "use fell", "contribution": 0.9, "actionable": True, "play": "revive_usage"}


def risk(account, **changed):
    given = AccountRisk(
        account,
        f"Company {account}",
        0.6,
        90,
        NOON,
        None,
        [USE],
        1_000.0,
        "EUR",
        "churn-1",
        "usage",
        f"episode-{account}",
    )
    return replace(given, **changed)


def notice(  # noqa: PLR0913  # what a notice is made of
    account, expected=1.0, *, owner=ANN, cause="usage", teams=None, sponsor=None, tier="C", **changed
):
    bound = AccountBinding(account, f"Company {account}", owner, "it has no owner", teams or {}, sponsor, tier)
    why = owner.why if owner else ""
    return Notice("opened", risk(account, why_you=why, **changed), expected, cause, bound)


def compose(*notices, spoken=None, signer=None, binding=None, **alerts):
    company = SimpleNamespace(name="Harbour")
    settings = SimpleNamespace(alerts=Alerts(**alerts), binding=binding or Binding(), company=company)
    return MailingRules(settings, NOON, NOON, signer).compose(notices, spoken or Spoken())


def test_the_most_valuable_come_in_full_and_the_rest_in_one_digest_so_that_everyone_is_heard_of():
    mailing = compose(*(notice(f"A{n}", expected=float(n)) for n in range(8)), per_owner=5)
    assert [row["kind"] for row in mailing.rows] == ["opened"] * 5 + ["digest"]
    assert [row["episode_id"] for row in mailing.rows[:5]] == [f"episode-A{n}" for n in (7, 6, 5, 4, 3)]
    assert [row["position"] for row in mailing.rows] == [*range(6)]
    digest = mailing.rows[-1]
    assert all(f"Company A{n}" in digest["body"] for n in (0, 1, 2))
    assert "Beyond the 5 letters a day that you get in full." in digest["body"]
    assert mailing.forms["episode-A0"] == "digest"
    assert mailing.messages["episode-A0"] == digest["id"]
    assert {row["recipient"] for row in mailing.rows} == {"Ann@us.example"}


def test_letters_of_earlier_today_count():
    mailing = compose(notice("A1"), notice("A2"), per_owner=5, spoken=Spoken(recipients={"ann@us.example": 4}))
    assert [row["kind"] for row in mailing.rows] == ["opened", "digest"]


def test_who_wants_one_mail_a_day_gets_one():
    (row,) = compose(*(notice(f"A{n}") for n in range(8)), digest=True, per_owner=5).rows
    assert row["body"].count("Why:") == 5
    assert row["subject"].startswith("8 accounts want you")


def test_the_fallback_has_no_cap_and_reads_why():
    (row,) = compose(*(notice(f"A{n}", owner=DESK) for n in range(21)), per_owner=5).rows
    assert row["recipient"] == "desk@us.example"
    assert row["body"].startswith("You get this because it has no owner.")
    assert all(f"(A{n})" in row["body"] or f"account A{n})" in row["body"] for n in range(21))


def test_without_anybody_the_message_waits_for_a_person():
    mailing = compose(notice("A1", owner=None))
    assert mailing.rows[0]["state"] == "undeliverable"
    assert mailing.rows[0]["recipient"] is None
    assert mailing.rows[0]["reason"] == "it has no owner, and there is no alerts.fallback_owner"
    assert mailing.forms["episode-A1"] == "undeliverable"


def test_an_account_is_not_written_about_all_the_time():
    mailing = compose(notice("A1"), notice("A2"), spoken=Spoken(accounts={"A1": 3}), per_account_week=3)
    assert [row["kind"] for row in mailing.rows] == ["opened", "digest"]
    assert mailing.forms == {"episode-A2": "letter", "episode-A1": "digest"}


def test_a_team_hears_of_its_cause_and_each_is_told_of_the_other():
    mailing = compose(
        notice("A1", teams={"usage": TEAM}), notice("A2", teams={"usage": TEAM}), notice("A3", cause="price")
    )
    letters = {row["episode_id"]: row["body"] for row in mailing.rows if row["kind"] == "opened"}
    (team,) = [row for row in mailing.rows if row["kind"] == "team"]
    assert team["recipient"] == "adoption@us.example"
    assert "Company A1" in team["body"]
    assert "Company A3" not in team["body"]
    assert "Its owner is Ann@us.example." in team["body"]
    assert "adoption@us.example" in letters["episode-A1"]
    assert "adoption@us.example" not in letters["episode-A3"]


def test_a_sale_is_no_business_of_teams_and_sponsors():
    mailing = compose(notice("A1", teams={"usage": TEAM}, sponsor=CHIEF, tier="A", kind="upsell"))
    assert [row["kind"] for row in mailing.rows] == ["opened"]


def test_the_sponsor_of_the_largest_hears_at_once_with_a_packet():
    mailing = compose(
        notice("A1", sponsor=CHIEF, tier="A"), notice("A2", sponsor=CHIEF, tier="B"), in_working_time=True
    )
    letters = [row for row in mailing.rows if row["kind"] == "opened"]
    (packet,) = [row for row in mailing.rows if row["kind"] == "packet"]
    assert packet["recipient"] == "ceo@us.example"
    assert "Three options for the meeting" in packet["body"]
    assert "Ann@us.example has the same letter" in packet["body"]
    assert packet["deliver_after"] is None
    monday = datetime(2024, 6, 3, 9, tzinfo=UTC)
    assert {row["deliver_after"] for row in letters} == {int(monday.timestamp() * 1e6)}


def test_an_account_with_two_alerts_is_one_letter():
    second = notice("A1", 0.5, kind="service_failure", reasons=("3 urgent tickets stand open",))
    second = replace(second, risk=replace(second.risk, episode="episode-A1-service"))
    mailing = compose(notice("A1"), second)
    (row,) = mailing.rows
    assert "Also open on this account: service failed: 3 urgent tickets stand open." in " ".join(row["body"].split())
    assert mailing.forms == {"episode-A1": "letter", "episode-A1-service": "letter"}
    assert set(mailing.messages.values()) == {row["id"]}


def test_a_sponsor_gets_few_packets_and_a_line_for_each_of_the_rest():
    mailing = compose(*(notice(f"A{n}", float(n), sponsor=CHIEF, tier="A") for n in range(8)), per_owner=5)
    theirs = [row for row in mailing.rows if row["recipient"] == "ceo@us.example"]
    assert [row["kind"] for row in theirs] == ["packet"] * 5 + ["digest"]
    assert all(f"Company A{n}" in theirs[-1]["body"] for n in (0, 1, 2))
    assert len({row["id"] for row in mailing.rows}) == len(mailing.rows)


def test_the_same_run_makes_the_same_messages_and_links_name_their_own():
    signer = LinkSigner(Links(url="https://garrison.example"), "s" * 32)
    first, second = (compose(notice("A1"), notice("A2", owner=DESK), signer=signer) for _ in range(2))
    assert [row["id"] for row in first.rows] == [row["id"] for row in second.rows]
    letter = first.rows[0]
    link = next(line for line in letter["body"].splitlines() if "/act/" in line).strip()
    assert signer.read(link.rpartition("/")[2]).message == letter["id"]
    (digest,) = compose(*(notice(f"A{n}", owner=DESK) for n in range(3)), signer=signer).rows
    links = [signer.read(word.rpartition("/")[2]) for word in digest["body"].split() if "/act/" in word]
    assert {link.message for link in links} == {digest["id"]}
    assert {link.episode for link in links} == {f"episode-A{n}" for n in range(3)}
    assert signer.read(link.rpartition("/")[2]).episode == "episode-A1"
    assert link in letter["html"]
