"""Ids are found in whatever form a text writes them, and ids of others that hold them are not."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from features.erasure.terms import ERASED, Terms

# Letters, digits, spaces, signs that formats escape, Chinese, Cyrillic, letters beyond 16 bits.
ids = (
    st.text("AZaz09 -_./&<>\"'\\%+#é甲乙公司Жд𠀀", min_size=4, max_size=20)
    .map(str.strip)
    .filter(lambda one: len(one) >= 4 and not one.isdigit())
)
FORMS = (str, html.escape, quote, quote_plus, json.dumps, lambda one: json.dumps(one, ensure_ascii=False))


@given(ids, st.sampled_from(FORMS))
def test_an_id_is_taken_out_of_a_text_in_any_form(one, write):
    terms = Terms(one)
    scrubbed = terms.scrub(f"before ({write(one)}) after")
    assert scrubbed.startswith("before (")
    assert scrubbed.endswith(") after")
    assert ERASED in scrubbed
    assert not terms.are_in(scrubbed)


@given(ids, st.text("Az09-_", min_size=1, max_size=4))
def test_the_id_of_another_that_holds_it_stays(one, more):
    text = f"{one}{more} and {one}"
    assert Terms(one, longer=[one + more]).scrub(text) == f"{one}{more} and {ERASED}"


@given(ids)
def test_no_object_list_or_key_of_it_is_left_in_json(one):
    value = {
        "rows": [{"account_id": one, "score": 1}, {"account_id": "other", "text": f"with {one}."}],
        "accounts": [one, "other"],
        one: {"n": 1},
    }
    kept = Terms(one).scrub_json(value)
    assert kept == {"rows": [{"account_id": "other", "text": f"with {ERASED}."}], "accounts": ["other"]}


@given(st.integers(1, 999_999).map(str))
def test_a_figure_that_equals_a_short_id_stays(one):
    text = f"{one} seats, {one}.5 %, +{one}"
    terms = Terms(one)
    assert terms.scrub(text) == text
    assert terms.scrub(f"/accounts/{one}/file, account {one}") == f"/accounts/{ERASED}/file, account {ERASED}"
    assert terms.scrub_json({one: 1, "horizons": [one], "accounts": [one]}) == {
        one: 1,
        "horizons": [one],
        "accounts": [],
    }
    assert not terms.are_in_bytes(text.encode())
