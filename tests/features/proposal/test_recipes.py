"""Recipes of known systems, in the forms that their exports and the usual loaders write: rows kept, values, ends."""

from __future__ import annotations

import csv
import json
import tomllib

import pytest

from features.proposal.recipes import list_recipes
from features.settings.load import load_settings
from features.sources.history import History
from tests.support.commands import run_command

N = 12  # accounts


def day(n, hour="10:00:00"):
    return f"2023-{1 + n % 12:02d}-{1 + n % 28:02d} {hour}"


def epoch(n):
    return 1_672_531_200 + 86_400 * 20 * n


class Case:
    """Tables of one system in one form, and the rows that each canonical table must have.

    A table is (header, function of a number to a row, number of rows).
    """

    def __init__(self, recipe, form, tables, kept, **values):
        self.recipe, self.form, self.tables, self.kept, self.values = recipe, form, tables, kept, values

    def write(self, folder):
        for name, (header, row, count) in self.tables.items():
            rows = [row(n) for n in range(count)]
            if name.endswith("jsonl"):
                text = "\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows)
                (folder / name).write_text(text, encoding="utf-8")
            else:
                with (folder / name).open("w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows([header, *rows])


ORGANIZATIONS = (["id", "created_at", "name"], lambda n: (100 + n, "2022-01-01 00:00:00", f"o{n}"), N)
CASES = [
    Case(
        "zendesk",
        "fivetran",
        {
            "organization_data.csv": ORGANIZATIONS,
            "user_data.csv": (["id", "organization_id", "email"], lambda n: (900 + n, 100 + n, f"u{n}@x.example"), N),
            "ticket_data.csv": (
                [
                    "id",
                    "_fivetran_synced",
                    "created_at",
                    "organization_id",
                    "requester_id",
                    "priority",
                    "status",
                    "via_channel",
                ],
                lambda n: (
                    n,
                    day(n),
                    day(n),
                    100 + n % N if n % 2 else "",
                    900 + n % N,
                    "urgent",
                    "deleted" if n == 5 else "open",
                    "web",
                ),
                40,
            ),
            "ticket_field_history_data.csv": (
                ["ticket_id", "field_name", "value", "updated"],
                lambda n: (n, "status", "solved", "2024-03-01 00:00:00"),
                20,
            ),
        },
        {"accounts": N, "tickets": 39},
        tickets="count(resolved_at) = 19 AND max(priority) = 'urgent' AND max(channel) = 'web'",
    ),
    Case(
        "zendesk",
        "airbyte",
        {
            "organizations.jsonl": (
                ["id", "created_at", "name"],
                lambda n: (100 + n, "2022-01-01T00:00:00Z", f"o{n}"),
                N,
            ),
            "tickets.jsonl": (
                ["id", "created_at", "organization_id", "priority", "satisfaction_rating", "via", "status"],
                lambda n: (
                    n,
                    f"{day(n)[:10]}T08:00:00Z",
                    100 + n % N,
                    "normal",
                    {"score": "good"},
                    {"channel": "email"},
                    "open",
                ),
                30,
            ),
        },
        {"accounts": N, "tickets": 30},
        tickets="max(csat) = 1 AND max(channel) = 'email'",
    ),
    Case(
        "intercom",
        "fivetran",
        {
            "company_history_data.csv": (
                ["id", "created_at", "name", "_fivetran_active"],
                lambda n: (f"co{n % N}", "2022-01-01 00:00:00", f"c{n}", "true" if n < N else "false"),
                N + 3,
            ),
            "contact_company_history_data.csv": (["contact_id", "company_id"], lambda n: (f"p{n}", f"co{n}"), N),
            "conversation_contact_history_data.csv": (
                ["conversation_id", "contact_id"],
                lambda n: (n, f"p{n % N}"),
                30,
            ),
            "conversation_history_data.csv": (
                ["id", "updated_at", "created_at", "priority", "source_type", "conversation_rating_value"],
                lambda n: (n, day(n), day(n), "not_priority", "email", 4),
                30,
            ),
        },
        {"accounts": N, "tickets": 30},
        tickets="max(priority) = 'normal' AND max(csat) = 4",
    ),
    Case(
        "freshdesk",
        "api",
        {
            "companies.jsonl": (["id", "created_at", "name"], lambda n: (n, "2022-01-01T00:00:00Z", f"c{n}"), N),
            "tickets.jsonl": (
                ["id", "created_at", "company_id", "priority", "stats", "type"],
                lambda n: (n, f"{day(n)[:10]}T08:00:00Z", n % N, 4, {"resolved_at": "2024-01-05T00:00:00Z"}, "Bug"),
                30,
            ),
        },
        {"accounts": N, "tickets": 30},
        tickets="max(priority) = 'urgent' AND count(resolved_at) = 30",
    ),
    Case(
        "stripe",
        "airbyte",
        {
            "customers.csv": (["id", "created", "name"], lambda n: (f"cus_{n}", epoch(0), f"c{n}"), N),
            "charges.csv": (
                ["id", "created", "customer", "amount", "currency", "status"],
                lambda n: (f"ch_{n}", epoch(n), f"cus_{n % N}", 1999, "eur", "failed" if n == 3 else "succeeded"),
                30,
            ),
            "refunds.csv": (
                ["id", "created", "charge", "amount", "currency"],
                lambda n: (f"re_{n}", epoch(20), f"ch_{n + 10}", 999, "eur"),
                2,
            ),
        },
        {"accounts": N, "purchases": 31},
        purchases="round(sum(amount), 2) = 29 * 19.99 - 2 * 9.99 AND count_if(kind = 'refund') = 2",
    ),
    Case(
        "stripe",
        "fivetran",
        {
            "customer_data.csv": (
                ["id", "created", "is_deleted"],
                lambda n: (f"cus_{n}", "2022-01-01 00:00:00", "TRUE" if n == 40 else "FALSE"),
                N,
            ),
            "invoice_data.csv": (
                ["id", "created", "customer_id", "total", "status"],
                lambda n: (f"in_{n}", day(n), f"cus_{n % N}", 500, "void" if n == 2 else "paid"),
                24,
            ),
            "invoice_line_item_data.csv": (
                ["id", "invoice_id", "amount", "currency", "period_start", "period_end", "plan_id", "quantity"],
                lambda n: (f"il_{n}", f"in_{n}", 500, "jpy", day(n), "2024-01-01 00:00:00", "gold", 3),
                24,
            ),
            "subscription_history_data.csv": (
                ["id", "customer_id", "start_date", "ended_at", "_fivetran_active"],
                lambda n: (
                    f"sub_{n}",
                    f"cus_{n}",
                    "2022-02-01 00:00:00",
                    "2023-09-01 00:00:00" if n % 3 else "",
                    "true",
                ),
                N,
            ),
        },
        {"accounts": N, "purchases": 23, "lifetimes": N},
        # Yen have no smaller unit.
        purchases="max(amount) = 500 AND count(term_ends_at) = 23 AND max(product) = 'gold'",
    ),
    Case(
        "stripe",
        "dashboard",
        {
            "customers.csv": (["id", "Created (UTC)", "Name"], lambda n: (f"cus_{n}", "2022-01-01 00:00", f"c{n}"), N),
            "unified_payments.csv": (
                ["id", "Created date (UTC)", "Amount", "Amount Refunded", "Currency", "Status", "Customer ID"],
                lambda n: (
                    f"ch_{n}",
                    day(n)[:16],
                    "20.00",
                    "5.00" if n == 1 else "0.00",
                    "usd",
                    "Paid",
                    f"cus_{n % N}",
                ),
                24,
            ),
        },
        {"accounts": N, "purchases": 25},
        purchases="sum(amount) = 24 * 20 - 5",
    ),
    Case(
        "chargebee",
        "api",
        {
            "customers.csv": (["id", "created_at", "company"], lambda n: (f"c{n}", epoch(0), f"c{n}"), N),
            "invoices.csv": (
                ["id", "customer_id", "date", "total", "currency_code", "status"],
                lambda n: (n, f"c{n % N}", epoch(n), 4900, "EUR", "voided" if n == 4 else "paid"),
                30,
            ),
            "subscriptions.csv": (
                ["id", "customer_id", "started_at", "cancelled_at"],
                lambda n: (f"s{n}", f"c{n}", epoch(0), epoch(9) if n % 2 else ""),
                N,
            ),
        },
        {"accounts": N, "purchases": 29, "lifetimes": N},
        purchases="max(amount) = 49",
    ),
    Case(
        "shopify",
        "fivetran",
        {
            "shopify_customer_data.csv": (
                ["id", "created_at", "orders_count"],
                lambda n: (n, "2022-01-01 00:00:00", n),
                N,
            ),
            "shopify_order_data.csv": (
                ["id", "customer_id", "created_at", "total_price", "currency", "financial_status", "test"],
                lambda n: (n, n % N, day(n), "12.50", "USD", "voided" if n == 0 else "paid", "FALSE"),
                30,
            ),
            "shopify_transaction_data.csv": (
                ["id", "order_id", "kind", "status", "amount", "created_at"],
                lambda n: (n, n + 5, "refund" if n else "sale", "success", "2.50", day(n + 5)),
                3,
            ),
        },
        {"accounts": N, "purchases": 31},
        purchases="sum(amount) = 29 * 12.5 - 2 * 2.5",
    ),
    Case(
        "shopify",
        "graphql",
        {
            "gql_customer.csv": (["id", "created_at"], lambda n: (n, "2022-01-01 00:00:00"), N),
            "gql_order.csv": (
                [
                    "id",
                    "customer_id",
                    "created_at",
                    "total_price_set_shop_amount",
                    "currency_code",
                    "display_financial_status",
                ],
                lambda n: (n, n % N, day(n), "12.50", "USD", "PAID"),
                30,
            ),
        },
        {"accounts": N, "purchases": 30},
    ),
    Case(
        "hubspot",
        "fivetran",
        {
            "company_data.csv": (
                ["id", "property_createdate", "property_name", "property_country", "is_deleted"],
                lambda n: (n, "2022-01-01 00:00:00", f"c{n}", "US" if n % 2 else "UK", "false"),
                N,
            ),
            "deal_data.csv": (
                ["deal_id", "property_amount", "property_closedate", "deal_pipeline_stage_id", "is_deleted"],
                lambda n: (n, 100, day(n), "won" if n % 3 else "lost", "false"),
                30,
            ),
            "deal_company_data.csv": (["deal_id", "company_id"], lambda n: (n, n % N), 30),
            "deal_pipeline_stage_data.csv": (
                ["stage_id", "closed_won"],
                lambda n: (["won", "lost"][n], [True, False][n]),
                2,
            ),
            "ticket_data.csv": (
                ["id", "property_createdate", "property_closed_date", "property_hs_ticket_priority"],
                lambda n: (n, day(n), "2024-01-01 00:00:00", "HIGH"),
                20,
            ),
            "ticket_company_data.csv": (["ticket_id", "company_id"], lambda n: (n, n % N), 20),
        },
        {"accounts": N, "purchases": 20, "tickets": 20},
        tickets="max(priority) = 'high'",
    ),
    Case(
        "hubspot",
        "own",
        {
            "all_companies.csv": (
                ["Record ID", "Create Date", "Company name"],
                lambda n: (n, "2022-01-01 09:00", f"c{n}"),
                N,
            ),
            "all_deals.csv": (
                ["Record ID", "Amount", "Close Date", "Deal Stage", "Associated Company IDs"],
                lambda n: (n, 100, day(n)[:16], "Closed Won" if n % 3 else "Closed Lost", n % N),
                30,
            ),
        },
        {"accounts": N, "purchases": 20},
    ),
    Case(
        "salesforce",
        "own",
        {
            "Account.csv": (
                ["Id", "CreatedDate", "Name", "Industry", "IsDeleted", "OwnerId"],
                lambda n: (
                    f"001{n:03d}",
                    "2022-01-01T00:00:00.000+0000",
                    f"c{n}",
                    "Tech" if n % 2 else "Retail",
                    "false",
                    "005A",
                ),
                N,
            ),
            "User.csv": (["Id", "Email"], lambda n: (f"005{'AB'[n]}", f"owner{n}@x.example"), 2),
            "Opportunity.csv": (
                ["Id", "AccountId", "Amount", "CloseDate", "IsWon", "Type"],
                lambda n: (
                    f"006{n:03d}",
                    f"001{n % N:03d}",
                    1000,
                    day(n)[:10],
                    "true" if n % 3 else "false",
                    "New Business",
                ),
                30,
            ),
            "Case.csv": (
                ["Id", "AccountId", "CreatedDate", "ClosedDate", "Priority", "Origin"],
                lambda n: (f"500{n:03d}", f"001{n % N:03d}", f"{day(n)[:10]}T08:00:00.000+0000", "", "Medium", "Web"),
                20,
            ),
        },
        {"accounts": N, "purchases": 20, "tickets": 20},
        purchases="max(kind) = 'new'",
        accounts="max(owner_email) = 'owner0@x.example'",
    ),
    Case(
        "segment",
        "warehouse",
        {
            "groups.csv": (["group_id", "timestamp", "name"], lambda n: (f"g{n}", "2022-01-01 00:00:00", f"c{n}"), N),
            "users.csv": (["id", "company_id"], lambda n: (f"u{n}", f"g{n % N}"), 24),
            "tracks.csv": (
                ["id", "timestamp", "user_id", "event_text"],
                lambda n: (f"m{n}", day(n), f"u{n % 24}", "Opened"),
                60,
            ),
        },
        {"accounts": N, "usage": 60},
    ),
    Case(
        "amplitude",
        "export",
        {
            "accounts.csv": (["id", "created_at"], lambda n: (f"a{n}", "2022-01-01"), N),
            "events.jsonl": (
                ["uuid", "event_time", "user_id", "event_type", "groups"],
                lambda n: (f"m{n}", f"{day(n)}.123000", f"u{n}", "open", {"account": f"a{n % N}"}),
                40,
            ),
        },
        {"accounts": N, "usage": 40},
    ),
    Case(
        "posthog",
        "batch",
        {
            "groups.jsonl": (
                ["group_key", "created_at", "group_properties"],
                lambda n: (f"a{n}", "2022-01-01T00:00:00Z", {"name": f"c{n}"}),
                N,
            ),
            "events.jsonl": (
                ["uuid", "timestamp", "distinct_id", "event", "properties"],
                lambda n: (f"m{n}", f"{day(n)[:10]}T08:00:00Z", f"u{n}", "open", {"$group_0": f"a{n % N}"}),
                40,
            ),
        },
        {"accounts": N, "usage": 40},
    ),
]


def init(folder, *words):
    return run_command("features", "init", folder / "raw", "--out", folder / "company.toml", *words)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.recipe}-{case.form}")
def test_a_recipe_maps_the_tables_of_its_system(case, tmp_path):
    (tmp_path / "raw").mkdir()
    case.write(tmp_path / "raw")
    done = init(tmp_path, "--recipe", case.recipe)
    assert done.returncode == 0, done.stderr
    with History.open(load_settings(tmp_path / "company.toml")) as history:
        kept = {table.table: table.kept for table in history.checked}
        assert {table: kept.get(table) for table in case.kept} == case.kept, done.stdout
        for table, condition in case.values.items():
            rows = history.query(f"SELECT {condition} AS holds FROM {table}")  # noqa: S608
            assert rows["holds"].iloc[0], (table, condition)


def test_each_recipe_is_tried():
    assert {case.recipe for case in CASES} == set(list_recipes())


def test_several_systems_are_joined(tmp_path):
    (tmp_path / "raw").mkdir()
    for name in ("salesforce", "zendesk"):
        next(case for case in CASES if case.recipe == name).write(tmp_path / "raw")
    # The help desk's organizations name the account of the CRM.
    header = ["id", "created_at", "external_id"]
    Case("", "", {"organization_data.csv": (header, lambda n: (100 + n, "2022-01-01", f"001{n:03d}"), N)}, {}).write(
        tmp_path / "raw"
    )
    (tmp_path / "raw" / "Case.csv").unlink()
    done = init(tmp_path, "--recipe", "zendesk", "--recipe", "salesforce")
    assert done.returncode == 0, done.stderr
    settings = tomllib.loads((tmp_path / "company.toml").read_text())
    assert settings["tables"]["accounts"]["columns"]["account_id"] == "Id"
    assert settings["tables"]["tickets"]["system"] == "organization_data_id"
    with History.open(load_settings(tmp_path / "company.toml")) as history:
        assert history.count_rows("tickets") == 39


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--recipe", "strype"), "there is no recipe 'strype'. Did you mean stripe?"),
        (("--recipe", "posthog"), "recipe posthog finds none of its tables"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(tmp_path, words, message):
    (tmp_path / "raw").mkdir()
    CASES[0].write(tmp_path / "raw")
    done = init(tmp_path, *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "company.toml").exists()
