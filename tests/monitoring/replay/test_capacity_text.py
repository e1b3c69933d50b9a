import tomllib

import pytest

from features.core.errors import GarrisonError
from monitoring.replay.capacity_text import list_changes, set_hours, write_hours

BEFORE = """# The company.
company = { name = "Harbour" }

# Half an hour each.
[capacity]
hours  = 5.0  # since April; hours = 9 before
owners = { "a@x.test" = 3 }

[stakes]
value = 100
"""


def test_only_the_number_changes():
    after = set_hours(BEFORE, 2.5)
    assert after == BEFORE.replace("hours  = 5.0  #", "hours  = 2.5  #")
    assert [line for line in list_changes(BEFORE, after, "x") if line[:1] in "+-"] == [
        "--- x",
        "+++ x",
        "-hours  = 5.0  # since April; hours = 9 before",
        "+hours  = 2.5  # since April; hours = 9 before",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        'company.name = "x"',
        'company.name = "x"\n[capacity]',
        'company.name = "x"\n[capacity]\n# none yet\nminutes = { churn = 20 }\n',
        'capacity = { hours = 7, minutes = { churn = 20 } }\ncompany.name = "x"\n',
        'capacity.hours = 1e1\ncompany.name = "x"\n',
        'company.name = "x"\ncapacity.minutes.churn = 20\n[stakes]\nvalue = 3\n',
        "[capacity]\r\nhours = 5\r\n[stakes]\r\nvalue = 3\r\n",
    ],
)
def test_however_the_key_is_written_nothing_else_changes(text):
    before, after = tomllib.loads(text), tomllib.loads(set_hours(text, 12))
    assert after == before | {"capacity": before.get("capacity", {}) | {"hours": 12}}
    assert set_hours(set_hours(text, 12), 12) == set_hours(text, 12)


def test_what_can_not_be_changed_for_certain_is_refused():
    with pytest.raises(GarrisonError, match="can't be changed for certain"):
        set_hours("capacity = { minutes = { churn = 20 } }\n", 3)


def test_the_file_is_written_and_the_change_listed(tmp_path):
    file = tmp_path / "garrison.toml"
    file.write_bytes(BEFORE.replace("\n", "\r\n").encode())
    assert "+hours  = 4.0  # since April; hours = 9 before" in write_hours(file, 4)
    assert file.read_bytes() == BEFORE.replace("hours  = 5.0  #", "hours  = 4.0  #").replace("\n", "\r\n").encode()
    assert write_hours(file, 4) == []
