from types import SimpleNamespace

import pytest

from features.core.addresses import describe_fault, parse_address
from features.settings import Alerts
from features.settings.binding import Binding
from monitoring.binding.absences import Absence
from monitoring.binding.account_records import AccountRecord, list_parents
from monitoring.binding.bindings import BindingRules

RULES = {
    "teams": {"usage": "adoption@us.example", "service": "Support Lead <support@us.example>"},
    "sponsors": [
        {"tiers": ["A"], "address": "ceo@us.example", "role": "chief executive", "deputy": "coo@us.example"},
        {"tiers": ["B", "C"], "address": "director@us.example"},
    ],
    "people": {
        "ann@us.example": {"deputy": "ben@us.example", "lead": "lead@us.example", "timezone": "Asia/Shanghai"},
        "cat@us.example": {"country": "DE"},
    },
}
RECORDS = {
    "own": AccountRecord("Own", "Ann <Ann@us.example>", "Europe/Berlin"),
    "child": AccountRecord("Child", "0055x00000A1", None, "own"),
    "alone": AccountRecord("Alone", "a@b.example; c@d.example"),
    "loop": AccountRecord("Loop", None, None, "pool"),
    "pool": AccountRecord("Pool", None, None, "loop"),
    "cats": AccountRecord("Cats", "mailto:cat@us.example", "Mars/Olympus"),
}


def bind(*, away=(), fallback="desk@us.example", tiers=None, **changes):
    settings = SimpleNamespace(
        binding=Binding(**(RULES | changes)),
        alerts=Alerts(fallback_owner=fallback),
        company=SimpleNamespace(timezone="UTC"),
    )
    rules = BindingRules(settings, {a.address: a for a in away})
    return rules.bind(RECORDS, [*RECORDS, "unknown"], tiers or {})


def away(address, until=1_800_000_000_000_000, deputy=None):
    return Absence(address, 0, until, deputy)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("jane@shop.example", "jane@shop.example"),
        ("  jane@shop.example ", "jane@shop.example"),
        ("Jane Doe <jane@shop.example>", "jane@shop.example"),
        ('"Doe, Jane" <jane@shop.example>', "jane@shop.example"),
        ("MAILTO:jane@shop.example", "jane@shop.example"),
        ("<mailto:jane@shop.example>", "jane@shop.example"),
    ],
)
def test_addresses_as_systems_export_them(text, address):
    assert parse_address(text) == address
    assert describe_fault(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "has no owner"),
        ("   ", "has no owner"),
        ("a@b.example; c@d.example", "several addresses"),
        ("a@b.example,c@d.example", "several addresses"),
        ("0055x00000A1QAB", "a name or an id"),
        ("jane@", "can't be read"),
        ("jane@shop.example\r\nBcc: all@shop.example", "several addresses"),
        ("evil@x.example <jane@shop.example>", "several"),
        ("jane@shop.example <", "can't be read"),
        ("@shop.example:jane@shop.example", "can't be read"),
    ],
)
def test_what_is_no_address_says_what_is_wrong(text, fault):
    assert parse_address(text) is None
    assert fault in describe_fault(text)


def test_the_owner_of_the_record_comes_first():
    owner = bind()["own"].owner
    assert (owner.address, owner.why, owner.is_fallback) == ("Ann@us.example", "", False)
    assert owner.calendar.zone == "Asia/Shanghai"  # what the settings say of a person goes before the export


def test_an_unusable_owner_is_replaced_by_the_parents_and_the_letter_says_why():
    bound = bind()["child"]
    assert bound.owner.address == "Ann@us.example"
    assert str(bound.owner.why) == (
        "You get this because its owner is a name or an id, no e-mail address, and you own its parent account Own."
    )
    assert bound.fault == "its owner is a name or an id, no e-mail address"


def test_then_by_the_fallback_with_the_reason():
    bound = bind()
    for account, why in [("alone", "several addresses"), ("loop", "it has no owner"), ("unknown", "it has no owner")]:
        assert bound[account].owner.address == "desk@us.example"
        assert bound[account].owner.is_fallback
        assert why in str(bound[account].owner.why)
    assert bind(fallback=None)["alone"].owner is None


def test_who_is_away_has_a_deputy_then_a_lead_then_the_fallback():
    ann, ben, lead = "ann@us.example", "ben@us.example", "lead@us.example"
    found = bind(away=[away(ann)])["own"].owner
    assert (found.address, str(found.why)) == (
        ben,
        "You get this because Ann@us.example is away until 15 January 2027 and you stand in.",
    )
    assert bind(away=[away(ann, deputy="dee@us.example")])["own"].owner.address == "dee@us.example"
    assert bind(away=[away(ann), away(ben)])["own"].owner.address == lead
    gone = bind(away=[away(ann, until=None), away(ben), away(lead)])["own"]
    assert gone.owner.is_fallback
    assert gone.fault == "its owner Ann@us.example has left, and nobody stands in"


def test_teams_by_cause_and_sponsors_by_tier():
    bound = bind(tiers={"own": "A", "child": "C", "cats": "E"})
    assert {cause: team.address for cause, team in bound["own"].teams.items()} == {
        "usage": "adoption@us.example",
        "service": "support@us.example",
    }
    assert (bound["own"].sponsor.address, bound["own"].sponsor.title) == ("ceo@us.example", "chief executive")
    assert bound["child"].sponsor.address == "director@us.example"
    assert bound["cats"].sponsor is None
    assert bound["alone"].sponsor is None  # its tier is not known
    assert bind(away=[away("ceo@us.example")], tiers={"own": "A"})["own"].sponsor.address == "coo@us.example"


def test_a_zone_that_is_none_is_the_companys():
    calendar = bind()["cats"].owner.calendar
    assert (calendar.zone, calendar.country) == ("UTC", "DE")


def test_parents_that_bite_their_tail_end():
    assert list_parents(RECORDS, "loop") == ["pool"]
    assert list_parents(RECORDS, "child") == ["own"]
    assert list_parents(RECORDS, "unknown") == []
