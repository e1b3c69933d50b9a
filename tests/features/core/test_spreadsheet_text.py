"""Text that a spreadsheet would run, in all its disguises."""

import pytest

from features.core.spreadsheet_text import escape_text

DISGUISES = ["", " ", "\u00a0", "\u200b", "\ufeff", " \u2060 "]


@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20|%")
@pytest.mark.parametrize("before", DISGUISES)
def test_a_formula_is_escaped_whatever_stands_before_it(sign, before):
    text = f"{before}{sign}cmd|' /C calc'!A0"
    assert escape_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "\tplain"])
def test_what_begins_a_cell_anew_is_escaped(text):
    assert escape_text(text).startswith("'")


@pytest.mark.parametrize("text", ["", "Harbour & Sons", "a=b", "'quoted", "5 % off", "1-2", "\uff57ide"])
def test_other_text_stays_as_it_is(text):
    assert escape_text(text) == text
