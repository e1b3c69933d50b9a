"""A company whose tickets have texts of four known problems, in English and Chinese."""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNTS = 160
PROBLEMS = {
    "export": (
        ["The export of {x} to Excel fails", "Exporting {x} to an Excel file stops with an error"],
        ["导出{z}到Excel失败", "Excel导出{z}时报错失败"],
    ),
    "login": (
        ["Login by single sign-on is refused for {x}", "Single sign-on login does not work for {x}"],
        ["单点登录被拒绝, {z}无法登录", "{z}的单点登录失败了"],
    ),
    "invoice": (
        ["The invoice amount is charged twice for {x}", "Our {x} invoice was charged twice this month"],
        ["{z}的发票被重复扣费", "这个月{z}发票重复扣费两次"],
    ),
    "theme": (
        ["Feature request: please add a dark theme to {x}", "We wish for a dark theme in {x}"],
        ["希望{z}增加深色主题", "建议给{z}增加深色主题功能"],
    ),
}
_THINGS = (["orders", "reports", "contacts", "stock"], ["订单", "报表", "联系人", "库存"])
TOML = """
[company]
name = "Text Harbour"
[paths]
var = "var"
mlruns = "mlruns"
[sources]
accounts = { path = "accounts.csv" }
tickets = { path = "tickets.csv" }
purchases = { path = "purchases.csv" }
[tables.accounts]
source = "accounts"
columns = { account_id = "account_id", created_at = "created_at", partner_id = "partner_id" }
[tables.tickets]
source = "tickets"
columns = { ticket_id = "ticket_id", account_id = "account_id", opened_at = "opened_at", resolved_at = "resolved_at", \
subject = "subject", body = "body", minutes = "minutes" }
[tables.purchases]
source = "purchases"
columns = { account_id = "account_id", purchased_at = "purchased_at", amount = "amount" }
[churn]
cohort = { kind = "active", within_days = 120 }
label = { kind = "no_purchase" }
horizons = [90]
[journey]
rate_per_hour = 60
teams = { "*" = "service@harbour.test" }
embeddings = { source = "words" }
"""


def write_company(folder: Path, *, late: int = 0) -> Path:
    """Write tables and settings; return the settings' file.

    Args:
        folder: To write to.
        late: Further tickets about exports in the last week, all through partner P1.
    """
    rng = random.Random(3)  # noqa: S311  # no secret
    accounts = [f"A{n:03}" for n in range(ACCOUNTS)]
    tickets = list[dict[str, object]]()
    for account in accounts:
        for _ in range(6):
            at = START + timedelta(days=rng.uniform(5, 360))
            tickets.append(_write_ticket(rng, account, rng.choice(list(PROBLEMS)), at))
    for n in range(late):
        tickets.append(_write_ticket(rng, accounts[n * 2 % ACCOUNTS], "export", END - timedelta(hours=5 + n)))
    for number, ticket in enumerate(tickets):
        ticket["ticket_id"] = f"K{number:05}"
    purchases = [
        {"account_id": account, "purchased_at": (START + timedelta(days=30 * month)).isoformat(), "amount": 100}
        for account in accounts
        for month in range(12)
    ]
    owned = [
        {"account_id": a, "created_at": START.isoformat(), "partner_id": f"P{1 + n % 2}"}
        for n, a in enumerate(accounts)
    ]
    for name, rows in (("accounts", owned), ("tickets", tickets), ("purchases", purchases)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    file = folder / "garrison.toml"
    file.write_text(TOML, encoding="utf-8")
    return file


def _write_ticket(rng: random.Random, account: str, problem: str, at: datetime) -> dict[str, object]:
    language = int(rng.random() < 0.4)
    things = [rng.choice(some) for some in _THINGS]
    text = rng.choice(PROBLEMS[problem][language]).replace("{x}", things[0]).replace("{z}", things[1])
    hello = rng.choice(("", "你好, " if language else "Hello, "))
    return {
        "ticket_id": "",
        "account_id": account,
        "opened_at": at.isoformat(),
        "resolved_at": (at + timedelta(hours=4)).isoformat(),
        "subject": text,
        "body": f"{hello}{text}.",
        "minutes": 30,
    }
