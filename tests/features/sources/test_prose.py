"""No address or number of a person is stored: not in the history, the quarantine, the page of the check, or the log."""

import json
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.core.redaction import make_redaction, redact_prose
from features.sources.history import History

# What identifies somebody, in many forms, and the word in its place.
PLANTED = {
    "[mail]": (
        "jo@harbour.example",
        "Jo.Smith+list@mail.harbour.co.uk",
        "jo (at) harbour (dot) example",
        "jo[at]harbour.example",
        "\uff4a\uff4f\uff20harbour\uff0eexample",
        "张三@例子.公司",
        "li.wei@163.com",
        "https://x.example/?m=a%40b.example",
    ),
    "[phone]": (
        "+49 30 901820",
        "+49 (0)30 90-18 20",
        "0049 170 1234567",
        "(030) 1234567",
        "030/1234567",
        "555-123-4567",
        "(555) 123-4567",
        "555.123.4567",
        "+1-555-123-4567",
        "13812345678",
        "138-1234-5678",
        "138 1234 5678",
        "+86 138 1234 5678",
        "010-62345678",
        "0755 8234 5678",
        "\uff11\uff13\uff18\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
    ),
    "[card]": ("4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005", "5555555555554444"),
    "[id]": (
        "DE89 3704 0044 0532 0130 00",
        "GB29NWBK60161331926819",
        "110101199003074578",
        "11010519491231002X",
        "123-45-6789",
        "AB 12 34 56 C",
        "12345678Z",
        "G12345678",
        "S1234567D",
        "86095742719",
        "6222 0212 3456 7890 123",
    ),
}
SENTENCES = ("Please use {}, thanks", "请用{}\uff0c谢谢", "({})", "a\n{}\nb", "It is {}.", "号码\uff1a{}。")
KEPT = (
    "Invoice 2024-118 of 2024-01-05 10:30 over 1.234.567,00 EUR",
    "Version 3.14.159, error 500 at 12:30:45 for 3,000 users",
    "订单 1234567 在 2024-01-05 有 4200 行",
    "See you in 2023-2024, 20240105, 05.01.2024",
)


@pytest.mark.parametrize("word", PLANTED)
def test_every_form_is_hidden_in_sentences_of_both_languages(word):
    for form in PLANTED[word]:
        for sentence in SENTENCES:
            said = redact_prose(sentence.format(form))
            assert form not in said, said
            assert not sum(c.isdigit() for c in said) > 3, said
            assert "[" in said, said


@pytest.mark.parametrize("text", KEPT)
def test_what_identifies_nobody_stays(text):
    assert redact_prose(text) == text


def test_the_word_says_what_was_hidden_and_own_numbers_are_hidden_too():
    assert redact_prose("Write to jo@harbour.example, call +49 30 901820") == "Write to [mail], call [phone]"
    assert make_redaction(["KD-[0-9]{3}"])("our KD-123") == "our [id]"


# One text that has them all, and what must not be found in any file.
BODY = "; ".join(form for forms in PLANTED.values() for form in forms)
SECRETS = ("harbour.example", "901820", "12345678", "4111", "37828224", "0532", "199003074578", "60957427", "163.com")


def served(company, name, rows):
    """Map a table of tickets out of a source, with a row whose account is unknown and a column that is not mapped."""
    company.toml["quality"] = {"max_quarantine": 1}
    columns = {c: c for c in ("ticket_id", "account_id", "opened_at", "subject")}
    columns["body"] = {"sql": "body || ' '"}
    company.toml["tables"]["tickets"] = {"source": name, "columns": columns}
    return [
        {"ticket_id": n, "account_id": account, "opened_at": "2024-01-02", "subject": BODY, "body": BODY, "extra": BODY}
        for n, account in zip("123", rows, strict=True)
    ]


def find_secrets(folder, *, spared=()):
    files = [f for f in folder.rglob("*") if f.is_file() and f not in spared]
    assert files
    return {(f.name, s) for f in files for s in SECRETS if s.encode() in f.read_bytes()}


@pytest.mark.parametrize("kind", ["csv", "parquet", "sqlite"])
def test_nothing_planted_is_found_in_the_bytes_of_what_is_stored(company, kind):
    rows, folder = served(company, "desk", "ABC"), company.folder
    if kind == "sqlite":
        with sqlite3.connect(folder / "desk.db") as database:
            database.execute("CREATE TABLE desk (ticket_id, account_id, opened_at, subject, body, extra)")
            database.executemany("INSERT INTO desk VALUES (?, ?, ?, ?, ?, ?)", [tuple(row.values()) for row in rows])
        database.close()
        company.toml["sources"]["desk"] = {"url": "sqlite:///desk.db", "table": "desk"}
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "desk.parquet")
        company.toml["sources"]["desk"] = {"path": "desk.parquet"}
    else:
        lines = ["|".join(rows[0]), *("|".join(f'"{v}"' for v in row.values()) for row in rows)]
        broken = f"{BODY.replace('|', ' ')}|a|b|c|d|e|f|g|h".replace("\n", " ")
        (folder / "desk.csv").write_text("\n".join([*lines, broken]) + "\n", encoding="utf-8")
        company.toml["sources"]["desk"] = {"path": "desk.csv", "delimiter": "|"}
    with company.open() as history:
        ((subject, body),) = history.query("SELECT DISTINCT subject, body FROM tickets").to_numpy().tolist()
        compressed = history.query("SELECT subject || body AS t FROM tickets")["t"].tolist()
    assert "[mail]; [mail]" in subject
    assert "[card]" in body
    kept = json.dumps([*compressed, company.quarantined("tickets")], default=str, ensure_ascii=False)
    assert not [s for s in SECRETS if s in kept]
    assert len(company.quarantined("tickets")) == 1 + (kind == "csv")
    assert find_secrets(folder / "var") == set()


def test_texts_that_are_not_kept_are_stored_nowhere(company):
    rows = served(company, "desk", "ABC")
    pq.write_table(pa.Table.from_pylist(rows), company.folder / "desk.parquet")
    company.toml["sources"]["desk"] = {"path": "desk.parquet"}
    company.toml["texts"] = {"keep": False}
    with company.open() as history:
        assert history.query(
            "SELECT count(*) AS n, count(subject) + count(body) AS t FROM tickets"
        ).to_numpy().tolist() == [[3 - 1, 0]]
    assert not any("subject': '" in repr(row) for row, _ in company.quarantined("tickets"))


def test_surveys_and_promises_are_redacted_too(company):
    company.table("surveys", "account_id,at,kind,text", 'A,2024-01-02,nps,"mail jo@harbour.example"')
    company.table("promises", "account_id,made_at,due,text", 'A,2024-01-02,2024-02-02,"call 13812345678"')
    assert company.read("surveys", "text") == [("mail [mail]",)]
    assert company.read("promises", "text") == [("call [phone]",)]
    assert find_secrets(company.folder / "var") == set()
    assert isinstance(company.open(), History)
