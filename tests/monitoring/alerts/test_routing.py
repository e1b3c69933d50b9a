import pytest

from features.core.errors import GarrisonError
from features.settings import Alerts
from features.sources.history import History
from monitoring.alerts.routing import Contact, RankedAccount, parse_address, read_contacts, route_messages


@pytest.mark.parametrize("text", ["ann@example.com", " ann@example.com ", "a.b+c@x-y.example", "ann@localhost"])
def test_a_plain_address_is_taken(text):
    assert parse_address(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example.com, bob@example.com",
        "ann@example.com;bob@example.com",
        "ann@example.com bob@example.com",
        "Ann <ann@example.com>",
        "ann@example.com\nBcc: bob@example.com",
        "ann@example.com\r\nRCPT TO:<bob@example.com>",
        "ann@example.com\x00",
        "ann@@example.com",
        '"ann@x"@example.com',
        "ann@-example.com",
        "änn@example.com",
        "ann@example.com/to=bob@example.com",
        "ann@example.com?to=bob@example.com",
        "a" * 65 + "@example.com",
        "ann@" + ".".join(["abcdefghij"] * 30),
    ],
)
def test_whatever_is_not_one_plain_address_is_not_used(text):
    assert parse_address(text) is None


def test_an_owner_whose_address_is_no_plain_one_is_not_written_to():
    [found] = route_messages(
        [RankedAccount("A", 0.9, 1.0)], {"A": Contact("A", "a@x.test, b@x.test")}, Alerts()
    ).values()
    assert (found.recipient, found.state) == (None, "undeliverable")
    assert "not a plain one" in str(found.reason)


def test_the_cap_counts_an_owner_once_however_the_address_is_cased():
    known = {"A": Contact("A", "Ann@x.test"), "B": Contact("B", "ann@X.test")}
    routes = route_messages([RankedAccount("A", 0.9, 1.0), RankedAccount("B", 0.8, 1.0)], known, Alerts(per_owner=1))
    assert [r.state for r in routes.values()] == ["pending", "withheld"]


def test_the_cap_holds_for_the_fallback_owner_too():
    stakes = [RankedAccount(a, 0.9, None) for a in "ABC"]
    routes = route_messages(stakes, {}, Alerts(per_owner=2, fallback_owner="desk@x.test"))
    assert [r.state for r in routes.values()] == ["pending", "pending", "withheld"]


def test_a_fallback_owner_that_is_no_plain_address_is_an_error_that_names_the_key():
    with pytest.raises(GarrisonError, match=r"alerts\.fallback_owner.*desk@x.test, b@x.test"):
        route_messages([RankedAccount("A", 0.9, 1.0)], {}, Alerts(fallback_owner="desk@x.test, b@x.test"))


def test_contacts_are_read_from_the_accounts_table(company):
    company.accounts({"A": "a@owners.test", "B": None, "C": "c@owners.test"}, {"A": "Ähm & Co", "B": "B", "C": "C"})
    with History.open(company.settings) as history:
        known = read_contacts(history, ["A", "B", "Z"])
    assert known == {"A": Contact("Ähm & Co", "a@owners.test"), "B": Contact("B", None)}
