"""Values of one row as databases compute them."""

import duckdb

from features.rows.values import lower_text


def test_small_letters_are_those_of_the_database():
    letters = [chr(c) for c in range(1, 0x530) if c != 0x130]
    texts = ["ΟΔΟΣ ΣΑΣ", "Straße", *letters, *(f"A{letter}A" for letter in letters)]
    told = duckdb.execute("SELECT list_transform(?::VARCHAR[], lambda x: lower(x))", [texts]).fetchone()
    assert [lower_text(text) for text in texts] == told[0]
