"""What serving costs, measured and estimated, beside what accounts bring; and the first action that is cheapest."""

import csv
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from monitoring.cost_to_serve.cost_report import make_reports, read_kept
from monitoring.cost_to_serve.cost_sheet import read_accounts
from tests.support.commands import run_command

TOML = """
[company]
name = "Harbour"
[paths]
var = "{folder}/var"
mlruns = "{folder}/mlruns"
[sources]
accounts = {{ path = "accounts.csv" }}
tickets = {{ path = "tickets.csv" }}
purchases = {{ path = "purchases.csv" }}
staff = {{ path = "staff.csv" }}
[tables.accounts]
source = "accounts"
columns = {{ account_id = "id", created_at = "created", size = "size" }}
[tables.purchases]
source = "purchases"
columns = {{ account_id = "id", purchased_at = "at", amount = "amount" }}
[tables.staff]
source = "staff"
columns = {{ email = "email", team = "team", rate_per_hour = "rate" }}
[tables.tickets]
source = "tickets"
[tables.tickets.columns]
ticket_id = "ticket"
account_id = "id"
opened_at = "at"
first_response_at = "answered"
resolved_at = "done"
priority = "priority"
topic = "topic"
channel = "channel"
csat = "csat"
handled_by = "who"
minutes = "minutes"
first_action = "action"
[churn]
cohort = {{ kind = "active" }}
label = {{ kind = "no_purchase" }}
horizons = [90]
"""
END = datetime(2026, 1, 1, tzinfo=UTC)
RATES = {
    "ann@harbour.test": ("support", 30),
    "bob@harbour.test": ("support", 36),
    "eva@harbour.test": ("engineering", 60),
}
HEADS = ("ticket", "id", "at", "answered", "done", "priority", "topic", "channel", "csat", "who", "minutes", "action")
# Minutes of an action, and the chance that it settles an easy and a hard ticket.
ACTIONS = {"answer": (15, 0.9, 0.4), "call": (30, 0.95, 0.9), "visit": (120, 0.97, 0.95)}


def make_tickets(rng, number):
    """Make tickets: of topic bug a call is cheapest, but it is made mostly on hard ones, where all does worse."""
    rows = []
    for n in range(number):
        topic, is_hard = ("bug", "how-to")[n % 2], rng.random() < 0.5
        chances = (0.25, 0.65, 0.1) if is_hard else (0.75, 0.15, 0.1)
        action = rng.choice(list(ACTIONS), p=chances)
        minutes, easy, hard = ACTIONS[action]
        settles = (hard if is_hard else easy) if topic == "bug" else (0.95 if action != "visit" else 0.97)
        is_settled = rng.random() < settles
        work = minutes * rng.uniform(0.8, 1.2) + (0 if is_settled else 150 * rng.uniform(0.8, 1.2))
        at = END - timedelta(days=float(rng.uniform(40, 360)))
        who = "eva@harbour.test" if action == "visit" else rng.choice(["ann@harbour.test", "BOB@harbour.test"])
        ends = (at + timedelta(hours=1), at + timedelta(days=1))
        priority = "high" if is_hard else "low"
        told = (at, *ends)
        row = (f"T{n}", f"A{rng.integers(80)}", *(t.isoformat() for t in told), priority, topic, "web")
        rows.append([*row, 4 if is_settled else 2, who, f"{work:.1f}", action])
    return rows


class CostCompany:
    """Its tables, and what its tickets truly cost."""

    def __init__(self, folder, tickets):
        self.folder = folder
        self.tickets = tickets
        accounts = [(f"A{n}", "2024-01-01", ("small", "large")[n % 2]) for n in range(80)]
        self._write("accounts.csv", ("id", "created", "size"), accounts)
        # A big account for each small one.
        spent = [(f"A{n}", "2025-12-01", (1_000, 20_000)[n % 2]) for n in range(80)]
        self._write("purchases.csv", ("id", "at", "amount"), [*spent, ("A0", "2024-01-01", 9_999)])
        self._write("staff.csv", ("email", "team", "rate"), [(e, t, r) for e, (t, r) in RATES.items()])
        self._write("tickets.csv", HEADS, tickets)
        self.file = folder / "garrison.toml"
        self.file.write_text(TOML.format(folder=folder))
        self.settings = load_settings(self.file)

    def make(self, **options):
        with database.open(self.settings) as store, History.open(self.settings) as history:
            return make_reports(self.settings, store, history, END, **options)

    def _write(self, name, heads, rows):
        with (self.folder / name).open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([heads, *rows])


def price(row):
    return float(row[10]) / 60 * RATES[row[9].lower()][1]


def test_measured_costs_add_up_to_the_payroll_and_to_teams_topics_and_accounts(tmp_path):
    tickets = make_tickets(np.random.default_rng(1), 600)
    company = CostCompany(tmp_path, tickets)
    sheet, _ = company.make(has_paths=False)
    payroll = sum(map(price, tickets))
    year = sheet.windows[-1]
    assert (year.tickets, year.measured, year.error) == (600, 1.0, 0.0)
    for total in (
        year.cost,
        sum(t.cost for t in sheet.teams),
        sum(t.cost for t in sheet.topics),
        sheet.accounts["cost_365"].sum(),
    ):
        assert total == pytest.approx(payroll, rel=1e-9)
    assert {team.name for team in sheet.teams} == {"support", "engineering"}
    assert sheet.accounts.loc["A0", "revenue_365"] == 1_000
    assert sheet.accounts.loc["A1", "net_365"] == pytest.approx(20_000 - sheet.accounts.loc["A1", "cost_365"])


def test_what_is_not_measured_is_estimated_with_an_error_that_covers_the_truth(tmp_path):
    rng = np.random.default_rng(2)
    tickets = make_tickets(rng, 1_000)
    truth = sum(map(price, tickets))
    for row in tickets:
        if rng.random() < 0.4:
            row[10] = ""
    sheet, _ = CostCompany(tmp_path, tickets).make(has_paths=False)
    year = sheet.windows[-1]
    assert 0.5 < year.measured < 0.7
    assert abs(year.cost - truth) < 3 * year.error
    assert 0 < year.error < 0.05 * truth
    assert any("estimated" in note for note in sheet.notes)


def test_customers_fall_into_four_quarters_and_those_that_cost_too_much_are_flagged(tmp_path):
    tickets = [row for row in make_tickets(np.random.default_rng(3), 200) if row[1] not in {"A2", "A3"}]
    for n, account in enumerate(["A2"] * 12 + ["A3"] * 12):  # a small account and a large one, both costly
        row = make_tickets(np.random.default_rng(n), 1)[0]
        row[:2], row[9], row[10] = (f"X{n}", account), "eva@harbour.test", "300"
        tickets.append(row)
    company = CostCompany(tmp_path, tickets)
    sheet, _ = company.make(has_paths=False)
    accounts = read_accounts(company.settings)
    assert (accounts.loc["A2", "play"], accounts.loc["A3", "play"]) == ("let go politely", "make cheaper")
    assert accounts.loc["A2", "is_flagged"]
    assert not accounts.loc["A3", "is_flagged"]
    assert sum(quarter.accounts for quarter in sheet.quarters) == 80
    assert (accounts["net_365"].sum()) == pytest.approx(sheet.revenue - sheet.windows[-1].cost)


def test_the_path_that_is_truly_cheapest_is_recommended_although_it_was_taken_on_the_hardest_tickets(tmp_path):
    company = CostCompany(tmp_path, make_tickets(np.random.default_rng(4), 4_000))
    _, paths = company.make()
    bug, how_to = (next(t for t in paths.topics if t.topic_id == name) for name in ("bug", "how-to"))
    found = {o.action: o for o in bug.outcomes}
    for action, (minutes, easy, hard) in ACTIONS.items():
        rate = 60 if action == "visit" else 33
        cost = (minutes + (1 - (easy + hard) / 2) * 150) / 60 * rate
        assert found[action].cost.low < cost * 1.05
        assert found[action].cost.high > cost * 0.95
        assert 25 < found[action].sample_size <= found[action].tickets
    assert (bug.usual, how_to.recommended, how_to.why) == ("answer", None, "the usual path is the cheapest")
    assert bug.outcomes[0].action == "call"
    assert bug.recommended == "call"
    assert read_kept(company.settings, "paths")["topics"][0]["outcomes"]


def test_nothing_is_recommended_below_two_hundred_tickets_or_where_intervals_meet(tmp_path):
    few = CostCompany(tmp_path, make_tickets(np.random.default_rng(5), 390))
    _, paths = few.make()
    assert [(t.recommended, t.why) for t in paths.topics] == [(None, "fewer than 200 tickets")] * 2


def test_the_command_prints_and_what_is_missing_is_said(tmp_path):
    company = CostCompany(tmp_path, make_tickets(np.random.default_rng(6), 300))
    file = tmp_path / "cost.json"
    done = run_command("monitoring", "cost", "--config", company.file, "--as-of", "2026-01-01", "--json", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "let go politely" in done.stdout
    assert json.loads(file.read_text())["windows"][2]["tickets"] == 300
    text = company.file.read_text()
    for line in ('handled_by = "who"\n', 'minutes = "minutes"\n', 'first_action = "action"\n'):
        text = text.replace(line, "")
    company.file.write_text(text)
    done = run_command("monitoring", "cost", "--config", company.file, "--as-of", "2026-01-01")
    assert done.returncode == 0
    for said in ("No ticket has minutes", "teams are not known", "No ticket says what was done first"):
        assert said in done.stdout
