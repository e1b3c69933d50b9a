"""`features load` against servers that speak the documented protocols: all rows, once, whatever happens on the way."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from features.loading.endpoints import list_endpoints
from features.settings.load import load_loading
from tests.support.commands import run_command
from tests.support.fake_server import Answer, Trap
from tests.support.fake_systems import FakeHubSpot, FakeRest, FakeStripe, FakeZendesk, made

KEYS = {"OUR_KEY": "sk_1"}


@pytest.fixture(autouse=True)
def hosts(monkeypatch):
    """The hosts that anything here looked up: no library may send a word of its own."""
    asked, look_up = set(), socket.getaddrinfo

    def note(host, *rest, **more):
        asked.add(host)
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", note)
    yield asked
    assert asked <= {"127.0.0.1"}


@pytest.fixture
def load(tmp_path):
    """Run `features load` on a TOML of one system, `crm`."""

    def run(url, *lines, env=KEYS):
        toml = ["company.name = 'Harbour'", f"paths.var = '{tmp_path / 'var'}'", "[load.crm]", f"url = '{url}'", *lines]
        (tmp_path / "garrison.toml").write_text("\n".join(toml))
        return run_command("features", "load", "--config", tmp_path / "garrison.toml", cwd=tmp_path, env=env)

    run.file = tmp_path / "garrison.toml"
    run.read = lambda table: pd.read_parquet(tmp_path / "var" / "harbour" / "load" / "crm" / table)
    return run


HERE = "allow = '127.0.0.1'"
STRIPE = ("kind = 'stripe'", "secret_env = 'OUR_KEY'", HERE)


def test_all_pages_of_stripe_come_and_then_only_what_is_new(load):
    day = 86_400
    tables = {
        "customers": made(5, created=lambda n: n, email="jo@harbour.example"),
        "invoices": made(5, created=lambda n: n * 100 * day, total=10, lines={"data": [{"amount": 7}, {"amount": 3}]}),
    }
    with FakeStripe(tables) as stripe:
        done = load(stripe.url, *STRIPE, "only = ['customers', 'invoices']")
        assert done.returncode == 0, done.stderr
        assert sorted(load.read("customers")["id"]) == ["r1", "r2", "r3", "r4", "r5"]
        assert len(load.read("invoices__lines__data")) == 10
        tables["customers"].pop()
        tables["invoices"][-1] = {**tables["invoices"][-1], "total": 11, "lines": {"data": [{"amount": 11}]}}
        tables["invoices"] += [{**tables["invoices"][-1], "id": "r6", "created": 510 * day}]
        stripe.asked.clear()
        done = load(stripe.url, *STRIPE, "only = ['customers', 'invoices']")
        assert done.returncode == 0, done.stderr
    assert len(load.read("customers")) == 4
    invoices = load.read("invoices").set_index("id")
    assert invoices["total"].to_dict() == {"r1": 10, "r2": 10, "r3": 10, "r4": 10, "r5": 11, "r6": 11}
    assert len(load.read("invoices__lines__data")) == 4 * 2 + 2
    assert any(f"created%5Bgte%5D={500 * day - 120 * day}" in asked for asked in stripe.asked)


def test_what_is_loaded_is_an_ordinary_source(load, tmp_path):
    tables = {
        "customers": made(3, created=1_600_000_000),
        "charges": made(6, created=1_700_000_000, amount=5, customer="r1"),
    }
    with FakeStripe(tables) as stripe:
        assert load(stripe.url, *STRIPE, "only = ['customers', 'charges']").returncode == 0
    folder = tmp_path / "var/harbour/load/crm"
    toml = f"""
company.name = "Harbour"
paths.var = "{tmp_path / "var"}"
sources.people.path = "{folder / "customers"}"
sources.paid.path = "{folder / "charges"}"
tables.accounts.source = "people"
tables.accounts.columns = {{ account_id = "id", created_at = {{ column = "created", format = "epoch" }} }}
tables.purchases.source = "paid"
tables.purchases.columns.account_id = "customer"
tables.purchases.columns.purchased_at = {{ column = "created", format = "epoch" }}
tables.purchases.columns.amount = {{ sql = "amount / 100.0" }}
churn.cohort.kind = "active"
churn.label.kind = "no_purchase"
"""
    load.file.write_text(toml)
    words = ("--as-of", "2024-01-01", "--out", tmp_path / "out.parquet")
    done = run_command("features", "build", *words, "--config", load.file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    spent = pd.read_parquet(tmp_path / "out.parquet").set_index("account_id")["spend_90d"]
    assert spent.to_dict() == {"r1": pytest.approx(0.3), "r2": 0, "r3": 0}


ZENDESK = ("kind = 'zendesk'", "secret_env = 'OUR_KEY'", "auth = 'basic'", "user = 'jo@harbour.example/token'", HERE)


def test_exports_of_zendesk_are_followed_to_the_end_of_the_stream(load):
    tables = {
        "tickets": made(
            5, generated_timestamp=lambda n: 1_700_000_000 + n, updated_at="2023-11-14T00:00:00Z", tags=["a"]
        ),
        "organizations": made(5, updated_at=lambda n: f"2024-01-0{n}T00:00:00Z"),
        "ticket_metrics": made(3, reopens=1),
    }
    only = "only = ['tickets', 'organizations', 'ticket_metrics']"
    with FakeZendesk(tables) as zendesk:
        assert load(zendesk.url, *ZENDESK, only).returncode == 0
        assert [len(load.read(table)) for table in tables] == [5, 5, 3]
        tables["tickets"][1] |= {"generated_timestamp": 1_700_000_009, "status": "solved"}
        zendesk.asked.clear()
        assert load(zendesk.url, *ZENDESK, only).returncode == 0
    tickets = load.read("tickets").set_index("id")
    assert tickets["status"].dropna().to_dict() == {"r2": "solved"}
    assert len(tickets) == 5
    assert zendesk.asked[0].endswith("tickets/cursor?start_time=1700000005")


HUBSPOT = ("kind = 'hubspot'", "secret_env = 'OUR_KEY'", HERE)


def test_a_search_of_hubspot_begins_anew_at_its_limit_of_rows(load):
    changed = [f"2024-01-01T00:00:{n:02}.5Z" for n in range(60)]
    tables = {
        "companies": made(9, updatedAt=lambda n: changed[n], properties={"name": "Quay"}),
        "owners": made(3, email="jo@harbour.example"),
    }
    with FakeHubSpot(tables) as hubspot:
        hubspot.most = 4
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("features.loading.paginators._MOST", 4)
            done = load(hubspot.url, *HUBSPOT, "only = ['companies', 'owners']")
            assert done.returncode == 0, done.stderr
            tables["companies"] += [{**tables["companies"][-1], "id": "late", "updatedAt": "2024-01-01T00:00:05.25Z"}]
            assert load(hubspot.url, *HUBSPOT, "only = ['companies', 'owners']").returncode == 0
    assert len(load.read("owners")) == 3
    companies = load.read("companies")
    assert sorted(companies["id"]) == sorted(row["id"] for row in tables["companies"])
    assert set(companies["name"]) == {"Quay"}


REST = (
    "kind = 'rest'",
    "secret_env = 'OUR_KEY'",
    HERE,
    "[load.crm.tables.orders]",
    "path = 'v2/orders'",
    "rows = 'items'",
    "key = 'id'",
    "pages = 'link_header'",
    "cursor = 'changed'",
    "since_param = 'since'",
)


def orders(count):
    return {"v2/orders": made(count, changed=lambda n: f"2024-01-0{n}T00:00:00Z", total=5)}


def test_any_rest_api_is_described_in_the_settings(load):
    with FakeRest(orders(5)) as api:
        assert load(api.url, *REST).returncode == 0
        api.tables = orders(7)
        done = load(api.url, *REST)
    assert sorted(load.read("orders")["id"]) == [f"r{n}" for n in range(1, 8)]
    files = [file for file in load.file.parent.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert [file for file in files if b"sk_1" in file.read_bytes()] == []
    assert api.asked[-1].startswith("GET /v2/orders?")
    assert "orders" in done.stdout


def test_a_system_that_asks_to_wait_is_asked_again_after_that_time(load):
    with FakeRest(orders(5)) as api:
        api.traps.append(Trap("at=2", Answer(429, {}, {"Retry-After": "1"})))
        began = time.monotonic()
        assert load(api.url, *REST).returncode == 0
        assert time.monotonic() - began >= 1
    assert len(load.read("orders")) == 5


def test_a_token_that_ends_midway_is_named_by_its_variable_and_nothing_is_lost(load):
    with FakeRest(orders(5)) as api:
        api.traps.append(Trap("at=4", Answer(401, {"error": "expired"})))
        done = load(api.url, *REST)
        assert done.returncode == 1
        assert "error: load.crm: the system refuses the secret of OUR_KEY. found: 401" in done.stderr
        assert "export OUR_KEY=…" in done.stderr
        assert "sk_1" not in done.stderr
        assert load(api.url, *REST).returncode == 0
    assert sorted(load.read("orders")["id"]) == ["r1", "r2", "r3", "r4", "r5"]


def test_a_load_that_is_killed_is_made_good_by_the_next(load):
    with FakeRest(orders(5)) as api:
        assert load(api.url, *REST).returncode == 0
        api.tables = orders(9)
        api.traps.append(Trap("at=4", kill="before"))
        words = [sys.executable, "-m", "features", "load", "--config", str(load.file)]
        process = subprocess.Popen(words, env={"OUR_KEY": "sk_1", "PATH": "/usr/bin"})
        api.victim = process.pid
        assert process.wait(60) == -9
        assert len(load.read("orders")) == 5
        assert load(api.url, *REST).returncode == 0
    assert sorted(load.read("orders")["id"]) == [f"r{n}" for n in range(1, 10)]


def test_a_load_that_is_cut_off_between_its_last_notes_is_neither_lost_nor_doubled(load, tmp_path):
    received = tmp_path / "var/harbour/load/crm/_received"
    with FakeRest(orders(5)) as api:
        assert load(api.url, *REST).returncode == 0
        api.tables = orders(7)
        assert load(api.url, *REST).returncode == 0
        max((received / "_dlt_loads").glob("*__*.jsonl"), key=lambda file: file.name).unlink()
        api.tables = orders(8)
        assert load(api.url, *REST).returncode == 0
        for kind in ("_dlt_loads", "_dlt_pipeline_state"):
            last = max((received / kind).glob("*__*.jsonl"), key=lambda file: file.name.split("__")[1])
            last.unlink() if kind == "_dlt_loads" else last.write_text('{"torn')
        assert load(api.url, *REST).returncode == 0
    assert sorted(load.read("orders")["id"]) == [f"r{n}" for n in range(1, 9)]


@pytest.mark.parametrize("where", ["http://elsewhere.example/v2/orders", "http://127.0.0.2:9/v2/orders"])
def test_no_request_goes_where_it_may_not_go(load, where):
    with FakeRest(orders(5)) as api:
        api.traps.append(Trap("orders", Answer(200, {"items": []}, {"Link": f'<{where}>; rel="next"'})))
        done = load(api.url, *REST)
        api.traps.append(Trap("orders", Answer(302, {}, {"Location": where})))
        moved = load(api.url, *REST)
    host = where.split("/")[2].split(":")[0]
    for stopped in (done, moved):
        assert stopped.returncode == 1
        assert (
            f'would go to {host}, which is not allowed. If it belongs to the system: load.crm.allow = ["{host}"]'
            in stopped.stderr
        )


@pytest.mark.parametrize(
    ("url", "lines", "says"),
    [
        ("https://evil.example", STRIPE[:2], "line 3: load.crm: evil.example is not a host of stripe"),
        ("http://api.stripe.com", STRIPE[:2], "line 4: load.crm.url: is not a plain https address"),
        ("https://api.stripe.com", STRIPE[:1], "line 3: load.crm: needs secret_env"),
        (
            "https://api.stripe.com",
            (*STRIPE[:2], "only = ['invoice']"),
            "stripe has no table 'invoice'. Did you mean invoices",
        ),
        ("http://127.0.0.1", ("kind = 'rest'", HERE), 'line 3: load.crm: kind = "rest" needs tables'),
        ("http://127.0.0.1", (*REST[:-1],), "load.crm.tables.orders: give both cursor and since_param"),
        ("https://api.stripe.com", ("kind = 'strip'",), "load.crm.kind: Input should be 'stripe'"),
    ],
)
def test_a_mistake_in_the_settings_is_named_before_any_request(load, url, lines, says, hosts):
    done = load(url, *lines)
    assert done.returncode == 1
    assert says in done.stderr
    assert hosts == set()


def test_a_secret_that_is_not_set_is_named(load):
    done = load("https://api.stripe.com", *STRIPE, env={"OUR_KEY": ""})
    assert "load.crm needs the environment variable OUR_KEY (load.crm.secret_env). found: it is not set" in done.stderr


def test_the_example_in_the_documents_is_valid(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "company.md").read_text(encoding="utf-8")
    (example,) = (block for block in page.split("```toml\n")[1:] if block.startswith("[load."))
    (tmp_path / "garrison.toml").write_text("company.name = 'Harbour'\n" + example.split("```")[0])
    settings = load_loading(tmp_path / "garrison.toml")
    tables = {name: [e.name for e in list_endpoints(name, system)] for name, system in settings.load.items()}
    assert tables["desk"] == ["tickets", "organizations"]
    assert tables["shop"] == ["orders"]
    for name in ("stripe", "crm"):
        (line,) = (line for line in example.splitlines() if f'"{settings.load[name].kind}"' in line)
        assert line.split("# ")[1].split(", ") == tables[name]


def test_without_dlt_it_says_what_to_install(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlt", None)
    done = load("https://api.stripe.com", *STRIPE)
    assert done.stderr.startswith("error: loading needs dlt. found: ")
    assert "pip install 'garrison[load]'" in done.stderr


def test_the_result_for_machines_has_each_table(load, tmp_path):
    with FakeRest(orders(3)) as api:
        load(api.url, *REST)
        words = ("--config", load.file, "--only", "crm", "--json", tmp_path / "out.json")
        assert run_command("features", "load", *words, cwd=tmp_path, env=KEYS).returncode == 0
    (table,) = json.loads((tmp_path / "out.json").read_text())["tables"]
    assert (table["system"], table["table"], table["rows"]) == ("crm", "orders", 3)
    assert run_command("features", "load", "--config", load.file, "--only", "erp", env=KEYS).returncode == 1
