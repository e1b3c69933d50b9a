from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.core.language import PSEUDO, Language
from features.settings.load import load_settings
from features.sources.history import History
from monitoring.letters.evidence import find_evidence
from tests.support.pseudo_text import find_raw_words

NOW = datetime(2024, 6, 1, tzinfo=UTC)
TOML = """
company.name = "Harbour"
paths = {{ var = "{folder}/var" }}
sources.accounts.path = "accounts.csv"
sources.tickets.path = "tickets.csv"
sources.usage.path = "usage.csv"
sources.purchases.path = "purchases.csv"
tables.accounts = {{ source = "accounts", columns = {{ account_id = "id", created_at = "created" }} }}
churn.cohort.kind = "active"
churn.label.kind = "no_purchase"
[tables.tickets]
source = "tickets"
columns = {{ ticket_id = "ticket", account_id = "id", opened_at = "opened", first_response_at = "answered", \
resolved_at = "resolved", priority = "priority", topic = "topic", csat = "csat" }}
[tables.usage]
source = "usage"
columns = {{ account_id = "id", used_at = "at", count = "count" }}
[tables.purchases]
source = "purchases"
columns = {{ account_id = "id", purchased_at = "at", amount = "amount", product = "product", \
term_starts_at = "starts", term_ends_at = "ends" }}
"""
TICKETS = """ticket,id,opened,answered,resolved,priority,topic,csat
1,O'Neil,2024-05-20,2024-05-21,,high,price,
2,O'Neil,2024-05-10,,,normal,,
3,O'Neil,2024-05-02,,2024-06-01,urgent,outage,1
4,O'Neil,2024-03-01,2024-03-01,2024-03-03,low,,3
5,O'Neil,2024-06-01,,,urgent,later,
6,quiet,2024-01-01,2024-01-02,2024-01-03,low,,
"""


@pytest.fixture
def history(tmp_path: Path):
    (tmp_path / "garrison.toml").write_text(TOML.format(folder=tmp_path))
    (tmp_path / "accounts.csv").write_text("id,created\nO'Neil,2023-01-01\nquiet,2023-01-01\nnew,2023-01-01\n")
    (tmp_path / "tickets.csv").write_text(TICKETS)
    (tmp_path / "usage.csv").write_text(
        "id,at,count\nO'Neil,2024-05-31,5\nO'Neil,2024-05-03,2\nO'Neil,2024-02-01,9\nO'Neil,2024-06-01,50\n"
    )
    (tmp_path / "purchases.csv").write_text(
        "id,at,amount,product,starts,ends\nO'Neil,2024-04-06,10,,,\nO'Neil,2024-06-01,10,,,\nO'Neil,2024-05-01,-4,,,\n"
        "quiet,2024-01-01,1200,Seats,2024-01-01,2025-01-01\nquiet,2024-01-01,90,Mail,2024-01-01,2024-06-02\n"
        "quiet,2024-02-01,90,Mail,2024-01-01,2024-06-02\nquiet,2023-01-01,500,Old,2023-01-01,2024-01-01\n"
        "quiet,2024-06-01,9000,Later,2024-06-01,2025-06-01\n"
    )
    with History.open(load_settings(tmp_path / "garrison.toml")) as opened:
        yield opened


def in_english(found):
    return {account: tuple(map(str, lines)) for account, lines in found.items()}


def test_a_letters_facts_are_dated_urgent_ones_first_and_none_is_of_later(history):
    found = in_english(find_evidence(history, ["O'Neil", "quiet", "new"], NOW))
    assert found == {
        "O'Neil": (
            "Usage events in each 30 days since 4 December 2023: 0, 9, 0, 0, 0, 7",
            "Urgent ticket about outage without an answer since 2 May 2024",
            "High ticket about price open since 20 May 2024",
            "Last rating: 3, for a ticket resolved on 3 March 2024",
            "Last invoice or order: 6 April 2024",
        ),
        "quiet": (
            "Last invoice or order: 1 February 2024",
            "The next term to end (Mail) ends on 2 June 2024, in 1 day; 180 invoiced for it",
            "The largest term (Seats) ends on 1 January 2025, in 214 days; 1,200 invoiced for it",
        ),
    }


def test_a_day_later_what_came_meanwhile_is_seen(history):
    lines = in_english(find_evidence(history, ["O'Neil"], datetime(2024, 6, 2, tzinfo=UTC)))["O'Neil"]
    assert "0, 9, 0, 0, 0, 57" in lines[0]
    assert lines[1:4] == (
        "Urgent ticket about later without an answer since 1 June 2024",
        "High ticket about price open since 20 May 2024",
        "Last rating: 1, for a ticket resolved on 1 June 2024",
    )
    assert find_evidence(history, [], NOW) == {}


@pytest.mark.parametrize("language", [PSEUDO, "zh_Hans"])
def test_facts_have_no_raw_text_in_other_languages(history, language):
    found = find_evidence(history, ["O'Neil", "quiet"], NOW)
    said = [fact.say(Language(language)) for facts in found.values() for fact in facts]
    assert find_raw_words(" ".join(said), ("outage", "price", "Seats", "Mail")) == []
