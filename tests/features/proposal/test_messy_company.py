"""Four systems' exports at their worst: the proposal alone keeps every row that is one, joined and in one currency.

From there to a promoted model beside its oracle goes `make bench-init`.
"""

from __future__ import annotations

import json

import pandas as pd

from features.settings.load import load_settings
from features.sources.history import History
from tests.support.commands import run_command
from tests.support.messy_company import write_messy_company


def test_a_messy_company_comes_up_without_an_edit(tmp_path):
    write_messy_company(tmp_path, accounts=60, months=8)
    file = tmp_path / "company.toml"
    done = run_command("features", "init", tmp_path / "exports", "--out", file, "--json", tmp_path / "init.json")
    assert done.returncode == 0, done.stderr
    proposed = json.loads((tmp_path / "init.json").read_text())
    assert proposed["problem"] is None
    assert {match["table"]: match["rate"] for match in proposed["matches"]} == {
        "purchases": 1,
        "tickets": 1,
        "usage": 1,
    }
    assert proposed["choices"][0]["label"] == {"kind": "lapse"}
    settings = load_settings(file)
    assert settings.sources["accounts"].encoding == "windows-1252"
    assert settings.company.currency == "EUR"
    assert settings.attributes() == ("region", "industry")
    invoices = pd.read_csv(tmp_path / "exports" / "invoices.csv", sep=";").drop_duplicates().query("Status == 'paid'")
    with History.open(settings) as history:
        assert not any(table.bad for table in history.checked)
        assert history.count_rows() == 60
        assert history.count_rows("purchases") == len(invoices)
        rates = invoices["Currency"].map({"EUR": 1, "USD": 0.92, "GBP": 1.17})
        amounts = invoices["Amount"].str.replace(".", "").str.replace(",", ".").astype(float)
        total = history.query("SELECT CAST(sum(amount) AS DOUBLE) AS s FROM purchases")["s"].iloc[0]
        assert abs(total - (amounts * rates).sum()) < 1
