"""Sum up the hidden truth of the service organisation, by problem and by topic and first action."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.core.contract import FIRST_ACTIONS
from features.samples.service.problems import read_problems
from features.samples.tickets import TOPICS


def summarise_truth(folder: Path) -> None:
    """Write `truth_problems` and `truth_actions` beside `truth_tickets` in a sample's folder."""
    tickets = pq.read_table(folder / "truth_tickets").to_pandas()
    for name, frame in (("truth_problems", _sum_problems(tickets)), ("truth_actions", _sum_actions(tickets))):
        (folder / name).mkdir()
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table, folder / name / "part-00000.parquet", compression="zstd")


def _sum_problems(tickets: pd.DataFrame) -> pd.DataFrame:
    """Return one row a problem: what it is called, what fixes it, whom it hits and what it costs."""
    names = pd.DataFrame(
        [
            {
                "problem": p.key,
                "topic": TOPICS[p.topic],
                "team": p.team,
                "name_en": p.name[0],
                "name_zh": p.name[1],
                "fix_en": p.fix[0],
                "fix_zh": p.fix[1],
            }
            for p in read_problems()
        ]
    )
    money = tickets["effect_churn_90d"] * tickets["value_365d"]
    found = (
        tickets.assign(money=money)
        .groupby("problem")
        .agg(
            tickets=("ticket_id", "size"),
            hits=("hit", "sum"),
            accounts=("account_id", "nunique"),
            marks=("marks", "sum"),
            leavers_90d=("effect_churn_90d", "sum"),
            money_90d=("money", "sum"),
        )
    )
    found = names.merge(found.reset_index(), on="problem", how="left")
    counts = ["tickets", "hits", "accounts", "marks", "leavers_90d", "money_90d"]
    found[counts] = found[counts].fillna(0)
    found["effect_per_hit_90d"] = found["leavers_90d"] / found["hits"].clip(lower=1)
    return found.sort_values("money_90d", ascending=False)


def _sum_actions(tickets: pd.DataFrame) -> pd.DataFrame:
    """Return one row a topic and first action: what it would bring on all the topic's tickets."""
    rows = []
    for topic, some in tickets.groupby("topic"):
        for action in FIRST_ACTIONS:
            settled, cost = some[f"p_settled_{action}"].mean(), some[f"cost_{action}"].mean()
            taken = int((some["first_action"] == action).sum())
            rows.append({"topic": topic, "first_action": action, "p_settled": settled, "cost": cost, "tickets": taken})
    frame = pd.DataFrame(rows)
    frame["is_best"] = frame["cost"] == frame.groupby("topic")["cost"].transform("min")
    return frame
