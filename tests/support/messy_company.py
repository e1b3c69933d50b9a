"""A company whose four systems export as such systems do: tidewater's history, written with every usual fault.

A CRM's accounts and contacts in windows-1252 with semicolons; a help desk's tickets by the requester's address;
billing's invoices with decimal commas and three currencies, void ones, refunds and rows told twice; a product's
tracks by user. What truly becomes of each account stays in `truth`, so that a model can be held against the oracle.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from features.samples import tidewater

_PRIORITIES = {"urgent": "P1", "high": "P2", "normal": "P3", "low": "P4"}
# What one unit is worth in euros; the company's amounts are in euros.
_RATES = {"USD": 0.92, "GBP": 1.17}
_REASONS = {"new": "subscription_create", "renewal": "subscription_cycle", "expansion": "upgrade"}


def write_messy_company(folder: Path, *, accounts: int = 600, months: int = 18, seed: int = 11) -> Path:
    """Write the exports into `folder/exports` and return the folder of the truth."""
    tidewater.write_sample(folder / "clean", accounts=accounts, months=months, seed=seed)
    rng = np.random.default_rng(seed)
    exports = folder / "exports"
    exports.mkdir()
    tables = {name: pd.read_parquet(folder / "clean" / name) for name in tidewater.TABLES}
    contacts = _write_crm(exports, tables["accounts"], rng)
    _write_desk(exports, tables["tickets"], contacts, rng)
    _write_billing(exports, tables["purchases"])
    _write_tracks(exports, tables["usage"], contacts)
    return folder / "clean" / "truth"


def _write_crm(exports: Path, accounts: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Write accounts and contacts; return the contacts, a third with an address of a mail provider."""
    written = pd.DataFrame(
        {
            "Account ID": accounts["account_id"],
            "Account Name": accounts["name"].str.replace("Supply", "Müller & Söhne", regex=False),
            "Created Date": accounts["created_at"].dt.strftime("%d.%m.%Y %H:%M"),
            "Account Owner Email": accounts["owner_email"],
            "Billing Country": accounts["region"],
            "Industry": accounts["industry"],
            "Company Size": accounts["size"],
            "Stripe Customer": [f"cus_{n:06d}" for n in range(len(accounts))],
            "Orders To Date": rng.integers(1, 90, len(accounts)),
            "Status": rng.choice(["active", "gone"], len(accounts), p=[0.8, 0.2]),
        }
    )
    again = pd.concat([written, written.sample(frac=0.02, random_state=1)])  # told twice
    again.to_csv(exports / "accounts.csv", sep=";", index=False, encoding="cp1252")
    rows = [
        (
            f"{account}-{n:02d}",
            account,
            f"person{n}.{account.lower()}@{'gmail.com' if n % 3 == 2 else f'{account.lower()}.example'}",
        )
        for account in accounts["account_id"]
        for n in range(30)
    ]
    contacts = pd.DataFrame(rows, columns=["Contact ID", "Account ID", "Email"])
    contacts.to_csv(exports / "contacts.csv", sep=";", index=False, encoding="cp1252")
    return contacts


def _write_desk(exports: Path, tickets: pd.DataFrame, contacts: pd.DataFrame, rng: np.random.Generator) -> None:
    person = contacts["Email"].to_numpy()
    place = {account: n for n, account in enumerate(contacts["Account ID"].unique())}
    number = tickets["account_id"].map(place).to_numpy() * 30 + rng.integers(0, 6, len(tickets))

    def written(times: pd.Series) -> pd.Series:
        return times.dt.strftime("%m/%d/%Y %I:%M %p").fillna("-")

    pd.DataFrame(
        {
            "Ticket ID": tickets["ticket_id"],
            "Requester Email": [address.upper() if n % 7 == 0 else address for n, address in enumerate(person[number])],
            "Created at": written(tickets["opened_at"]),
            "First reply at": written(tickets["first_response_at"]),
            "Solved at": written(tickets["resolved_at"]),
            "Priority": tickets["priority"].map(_PRIORITIES),
            "Category": tickets["topic"],
            "Channel": tickets["channel"],
            "CSAT": tickets["csat"].astype("Float64").astype("string").fillna("-"),
            "Reopened": tickets["reopened"].astype("string").fillna("-"),
            "Escalated": tickets["escalated"].astype("string").fillna("-"),
        }
    ).to_csv(exports / "tickets.csv", index=False)


def _write_billing(exports: Path, purchases: pd.DataFrame) -> None:
    customers = sorted(purchases["account_id"].unique())
    currency = {account: ["EUR", "USD", "GBP"][n % 3] for n, account in enumerate(customers)}
    code = purchases["account_id"].map(currency)
    invoices = pd.DataFrame(
        {
            "Invoice Number": [f"in_{n:07d}" for n in range(len(purchases))],
            "Customer": [f"cus_{int(account[1:]):06d}" for account in purchases["account_id"]],
            "Invoice Date": purchases["purchased_at"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            "Amount": purchases["amount"].astype(float) / code.map(_RATES).fillna(1.0),
            "Currency": code,
            "Type": purchases["kind"].map(_REASONS),
            "Product": purchases["product"],
            "Quantity": purchases["quantity"],
            "Period Start": purchases["term_starts_at"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            "Period End": purchases["term_ends_at"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            "Billing Months": purchases["billing_months"],
            "Status": "paid",
        }
    )
    void = invoices.sample(frac=0.03, random_state=2).assign(Status="void")
    void["Invoice Number"] += "-v"
    refunds = invoices.sample(frac=0.01, random_state=3).assign(Type="refund")
    refunds["Invoice Number"] += "-r"
    refunds["Amount"] = -refunds["Amount"] * 0.2
    refunds[["Period Start", "Period End", "Billing Months"]] = None
    whole = pd.concat([invoices, void, refunds])
    whole = pd.concat([whole, whole.sample(frac=0.02, random_state=4)]).sample(frac=1, random_state=5)
    whole["Amount"] = whole["Amount"].map(lambda amount: f"{amount:,.2f}".translate(str.maketrans(",.", ".,")))
    whole.to_csv(exports / "invoices.csv", sep=";", index=False)
    days = pd.date_range("2022-01-01", "2026-01-01", freq="MS").strftime("%Y-%m-%d")
    rates = [(code, day, str(rate).replace(".", ",")) for code, rate in _RATES.items() for day in days]
    pd.DataFrame(rates, columns=["Currency", "Day", "Rate"]).to_csv(exports / "rates.csv", sep=";", index=False)


def _write_tracks(exports: Path, usage: pd.DataFrame, contacts: pd.DataFrame) -> None:
    """Write tracks as JSON lines, in two files; the user is the contact."""
    known = set(contacts["Contact ID"])
    users = usage["user_id"].where(usage["user_id"].isin(known), usage["account_id"] + "-00")
    rows = zip(
        range(len(usage)),
        usage["used_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        users,
        usage["feature"],
        usage["count"],
        usage["duration_s"],
        usage["errors"],
        strict=True,
    )
    lines = [
        json.dumps(
            {
                "messageId": f"m{n}",
                "timestamp": at,
                "userId": user,
                "event": event,
                "properties": {"count": int(count), "duration": int(duration), "errors": int(errors)},
            }
        )
        for n, at, user, event, count, duration, errors in rows
    ]
    half = len(lines) // 2
    for number, part in enumerate((lines[:half], lines[half:]), start=1):
        (exports / f"tracks_{number}.jsonl").write_text("\n".join(part) + "\n", encoding="utf-8")
