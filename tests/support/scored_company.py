"""A company with a score table, written without a model: what the console's lists and pages read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.settings import Settings
from features.settings.load import load_settings
from serving.scoring.score_table import ScoreTable, scores_folder

TOML = """
[company]
name = "Harbour"
currency = "EUR"
[paths]
var = "{folder}/var"
mlruns = "{folder}/mlruns"
[sources]
accounts = {{ path = "accounts.csv" }}
purchases = {{ path = "purchases.csv" }}
[tables.accounts]
source = "accounts"
[tables.accounts.columns]
account_id = "id"
created_at = "created"
name = "name"
owner_email = "owner"
parent_id = "parent"
region = "region"
[tables.purchases]
source = "purchases"
columns = {{ account_id = "id", purchased_at = "at", amount = "amount" }}
[churn]
cohort = {{ kind = "active" }}
label = {{ kind = "no_purchase" }}
horizons = [90]
{more}
"""
_TEXT = ("tier", "recommendation", "why")


def write_company(folder: Path, accounts: Sequence[Mapping[str, Any]], more: str = "") -> Settings:
    """Write the tables and the settings of a company. Accounts have an id, and any of name, owner, parent, region."""
    lines = ["id,created,name,owner,parent,region"]
    for row in accounts:
        cells = [row["id"], "2023-01-01", *(row.get(c) or "" for c in ("name", "owner", "parent", "region"))]
        lines.append(",".join('"' + str(cell).replace('"', '""') + '"' for cell in cells))
    (folder / "accounts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "purchases.csv").write_text(f"id,at,amount\n{accounts[0]['id']},2024-01-02,10\n")
    file = folder / "garrison.toml"
    file.write_text(TOML.format(folder=folder, more=more))
    return load_settings(file)


def write_scores(settings: Settings, rows: Sequence[Mapping[str, Any]], *, as_of: str = "2025-01-01") -> datetime:
    """Write a score table. Rows have an account_id, and what they have of the columns below."""
    at = datetime.fromisoformat(as_of).replace(tzinfo=UTC)
    named = {"churn_90d": "risk", "churn_90d_before": "before", "churn_90d_value": "at_risk", "value": "value"}
    columns = {name: pa.array([row.get(key) for row in rows], pa.float64()) for name, key in named.items()}
    columns |= {name: pa.array([row.get(name) for row in rows], pa.string()) for name in _TEXT}
    columns["in_cohort_churn"] = pa.array([row.get("in_cohort", True) for row in rows], pa.bool_())
    ids = pa.array([row["account_id"] for row in rows], pa.string())
    table = pa.table({"account_id": ids, **columns})
    scores = ScoreTable(at, f"run {as_of}", {"churn": "churn-1"}, {"churn": (90,)}, "c", ("purchases",), None, table)
    scores_folder(settings).mkdir(parents=True, exist_ok=True)
    scores.write(scores_folder(settings))
    return at
