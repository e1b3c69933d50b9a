"""A company whose four systems export as such systems do, simulated with its true chances of leaving beside it.

A CRM's accounts and contacts in windows-1252 with semicolons, told twice; a help desk's tickets by the requester's
address, some at a mail provider; billing's invoices with decimal commas and three currencies, void ones, refunds and
repeats; a product's tracks by user. Each account is in one of two moods that only its tracks and tickets show, and
leaves at the end of a monthly term by its mood: so the chance of leaving is known exactly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

FIRST = date(2024, 7, 1)
# A calm account turns sour with the first chance a month, a sour one calms down with the second.
SOURS, CALMS = 0.06, 0.08
# Chance to leave at the end of a month's term, calm and sour.
LEAVES = (0.004, 0.16)
_RATES = {"USD": 0.92, "GBP": 1.17}  # euros a unit
_TERM = 30  # days
_HORIZON = 90


@dataclass(frozen=True)
class Life:
    """One account: when its terms begin, its mood in each, and after which one it left.

    Args:
        number: Of the account.
        starts: Day of each term's beginning.
        moods: 1 where it is sour.
        left: Whether it left after the last one.
    """

    number: int
    starts: tuple[date, ...]
    moods: tuple[int, ...]
    left: bool

    @property
    def id(self) -> str:
        return f"0015{self.number:05d}"


def write_messy_company(folder: Path, *, accounts: int = 600, months: int = 18, seed: int = 11) -> None:
    """Write the exports into `folder/exports`, and into `folder/truth` each account's chance of leaving by month."""
    rng = np.random.default_rng(seed)
    until = FIRST + timedelta(days=round(months * 30.44))
    lives = [_live(number, until, rng) for number in range(accounts)]
    exports = folder / "exports"
    exports.mkdir(parents=True)
    _write_crm(exports, lives, rng)
    _write_tickets(exports, lives, until, rng)
    _write_invoices(exports, lives)
    _write_tracks(exports, lives, until, rng)
    _write_truth(folder, lives, until)


def _live(number: int, until: date, rng: np.random.Generator) -> Life:
    latest = min(480, (until - FIRST).days - 60)
    day = FIRST + timedelta(days=int(rng.integers(0, 30 if rng.random() < 0.6 else latest)))
    mood = int(rng.random() < 0.3)
    starts, moods, left = [], [], False
    while day < until:
        starts.append(day)
        moods.append(mood)
        day += timedelta(days=_TERM)
        if rng.random() < LEAVES[mood]:
            left = True
            break
        mood = int(rng.random() < (1 - CALMS if mood else SOURS))
    return Life(number, tuple(starts), tuple(moods), left)


def _chance(mood: int, ends: int) -> float:
    """Return the chance that an account leaves at one of the next ends of terms, of which the first is this term's."""
    if ends == 0:
        return 0.0
    stays = 1 - LEAVES[mood]
    sours = 1 - CALMS if mood else SOURS
    later = sours * _chance(1, ends - 1) + (1 - sours) * _chance(0, ends - 1)
    return 1 - stays * (1 - later)


def _write_truth(folder: Path, lives: list[Life], until: date) -> None:
    rows = []
    for as_of in pd.date_range(FIRST, until, freq="MS", tz="UTC"):
        day = as_of.date()
        for life in lives:
            term = next((n for n, start in enumerate(life.starts) if start < day <= start + timedelta(_TERM)), None)
            if term is not None:
                first = (life.starts[term] + timedelta(_TERM) - day).days
                ends = len(range(first, _HORIZON, _TERM))
                rows.append((life.id, as_of, _chance(life.moods[term], ends)))
    (folder / "truth").mkdir()
    truth = pd.DataFrame(rows, columns=["account_id", "as_of", "p_churn_90d"])
    truth.astype({"as_of": "datetime64[us, UTC]"}).to_parquet(folder / "truth" / "part.parquet")


def _address(life: Life, person: int) -> str:
    """Return the address of a contact; every third one's is at a mail provider."""
    return f"p{person}.{life.number}@{'gmail.com' if person == 2 else f'kunde{life.number}.example'}"


def _write_crm(exports: Path, lives: list[Life], rng: np.random.Generator) -> None:
    accounts = pd.DataFrame(
        {
            "Account ID": [life.id for life in lives],
            "Account Name": [f"Müller & Söhne {life.number}" for life in lives],
            "Created Date": [f"{life.starts[0]:%d.%m.%Y} 00:00" for life in lives],
            "Account Owner Email": [f"owner{life.number % 8}@harbour.example" for life in lives],
            "Billing Country": rng.choice(["Österreich", "Deutschland", "Schweiz"], len(lives)),
            "Industry": rng.choice(["Handel", "Bau", "Verlag"], len(lives)),
            "Stripe Customer": [f"cus_{life.number:06d}" for life in lives],
            # What the export's day has counted, and what became of them: for no feature.
            "Orders To Date": [len(life.starts) for life in lives],
            "Status": ["gone" if life.left else "active" for life in lives],
        }
    )
    again = pd.concat([accounts, accounts.sample(frac=0.02, random_state=1)])
    again.to_csv(exports / "accounts.csv", sep=";", index=False, encoding="cp1252")
    contacts = [(f"003{life.number:05d}{n}", life.id, _address(life, n)) for life in lives for n in range(3)]
    header = ["Contact ID", "Account ID", "Email"]
    pd.DataFrame(contacts, columns=header).to_csv(exports / "contacts.csv", sep=";", index=False)


def _write_tickets(exports: Path, lives: list[Life], until: date, rng: np.random.Generator) -> None:
    rows = []
    for life in lives:
        for start, mood in zip(life.starts, life.moods, strict=True):
            for _ in range(rng.poisson((1.0, 1.7)[mood])):
                hours = int(rng.integers(0, _TERM * 24))
                at = datetime(start.year, start.month, start.day, tzinfo=UTC) + timedelta(hours=hours)
                if at.date() < until:
                    solved = at + timedelta(hours=int(rng.integers(1, 90)))
                    person = _address(life, int(rng.integers(0, 3)))
                    priority = f"P{rng.choice([1, 2, 3, 4], p=[(0.03, 0.35)[mood], 0.2, 0.3, (0.47, 0.15)[mood]])}"
                    csat = "-" if rng.random() < 0.3 else str(int(rng.integers(*((3, 6), (1, 4))[mood])))
                    rows.append((at, solved, person.upper() if rng.random() < 0.1 else person, priority, csat))
    form = "%m/%d/%Y %I:%M %p"
    written = [
        (f"T{n}", person, f"{at:{form}}", f"{solved:{form}}" if solved.date() < until else "-", priority, csat)
        for n, (at, solved, person, priority, csat) in enumerate(rows)
    ]
    header = ["Ticket ID", "Requester Email", "Created at", "Solved at", "Priority", "CSAT"]
    pd.DataFrame(written, columns=header).to_csv(exports / "tickets.csv", index=False)


def _write_invoices(exports: Path, lives: list[Life]) -> None:
    rows = []
    for life in lives:
        code = ("EUR", "USD", "GBP")[life.number % 3]
        seats = 3 + life.number % 40
        for n, start in enumerate(life.starts):
            end = start + timedelta(_TERM)
            customer, kind = f"cus_{life.number:06d}", "renewal" if n else "new"
            rows.append((f"{customer}-{n}", customer, start, seats * 49.0, code, kind, start, end, 1, seats))
    header = ["Customer", "Invoice Date", "Amount", "Currency", "Type", "Period Start", "Period End", "Months", "Seats"]
    invoices = pd.DataFrame(rows, columns=["Invoice Number", *header]).assign(Status="paid")
    void = invoices.sample(frac=0.03, random_state=2).assign(Status="void")
    void["Invoice Number"] += "-v"
    refunds = invoices.sample(frac=0.01, random_state=3).assign(Type="refund", Amount=-20.0)
    refunds["Invoice Number"] += "-r"
    refunds[["Period Start", "Period End", "Months"]] = None
    whole = pd.concat([invoices, void, refunds])
    whole = pd.concat([whole, whole.sample(frac=0.02, random_state=4)]).sample(frac=1, random_state=5)
    whole["Amount"] = whole["Amount"].map(lambda amount: f"{amount:,.2f}".translate(str.maketrans(",.", ".,")))
    whole.to_csv(exports / "invoices.csv", sep=";", index=False)
    days = pd.date_range("2024-01-01", "2026-01-01", freq="MS").strftime("%Y-%m-%d")
    rates = [(code, day, str(rate).replace(".", ",")) for code, rate in _RATES.items() for day in days]
    pd.DataFrame(rates, columns=["Currency", "Day", "Rate"]).to_csv(exports / "rates.csv", sep=";", index=False)


def _write_tracks(exports: Path, lives: list[Life], until: date, rng: np.random.Generator) -> None:
    """Write tracks as JSON lines in two files; the user is the contact."""
    lines = []
    for life in lives:
        usual = float(rng.lognormal(0, 0.5))
        for start, mood in zip(life.starts, life.moods, strict=True):
            for offset in range(_TERM):
                day = start + timedelta(days=offset)
                if day < until and rng.random() < (0.6, 0.35)[mood] * usual:
                    user = f"003{life.number:05d}{rng.integers(0, 3)}"
                    count = int(1 + rng.poisson((8, 4)[mood] * usual))
                    row = {"messageId": f"m{len(lines)}", "timestamp": f"{day}T{rng.integers(0, 24):02d}:00:00Z"}
                    lines.append(json.dumps(row | {"userId": user, "event": "opened", "properties": {"count": count}}))
    half = len(lines) // 2
    for number, part in enumerate((lines[:half], lines[half:]), start=1):
        (exports / f"tracks_{number}.jsonl").write_text("\n".join(part) + "\n", encoding="utf-8")
