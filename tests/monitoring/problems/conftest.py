"""A company with tickets of three problems in two languages, its state on SQLite and on a real PostgreSQL."""

import csv
from datetime import UTC, datetime

import pytest

from features.core.timestamps import DAY, to_micros
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from monitoring.problems.library_update import TopicLinks, TopicSeed, update_library

TOML = """
state_url = "{url}"
[company]
name = "Harbour"
[paths]
var = "{folder}/var"
mlruns = "{folder}/mlruns"
[sources]
accounts = {{ path = "accounts.csv" }}
tickets = {{ path = "tickets.csv" }}
usage = {{ path = "usage.csv" }}
[tables.accounts]
source = "accounts"
columns = {{ account_id = "id", created_at = "created" }}
[tables.usage]
source = "usage"
columns = {{ account_id = "id", used_at = "at" }}
[tables.tickets]
source = "tickets"
[tables.tickets.columns]
ticket_id = "ticket"
account_id = "id"
opened_at = "at"
resolved_at = "done"
subject = "subject"
body = "body"
[churn]
cohort = {{ kind = "using" }}
label = {{ kind = "no_usage" }}
horizons = [90]
"""
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
TEXTS = {
    "login": (
        ("Login fails with error 403", "Cannot sign in after the password was reset"),
        ("登录失败,提示错误", "重置密码后无法登录"),
    ),
    "export": (
        ("The CSV export stops at 10000 rows", "Export of a report is empty"),
        ("导出的文件只有一万行", "报表导出为空"),
    ),
    "invoice": (
        ("Invoice shows the wrong amount", "We were billed twice this month"),
        ("发票金额不对", "这个月被重复扣款"),
    ),
}
CHINESE = {"login": "登录", "export": "导出", "invoice": "发票"}
SEEDS = tuple(TopicSeed(t, {"en": t, "zh_Hans": CHINESE[t]}, "support@harbour.test") for t in TEXTS)


class TicketCompany:
    """Its tables, its library, and a way to let time pass."""

    def __init__(self, folder, url):
        self.folder, self.rows, self.topics = folder, [], {}
        self._write("accounts.csv", ("id", "created"), [(f"A{n}", "2024-01-01") for n in range(40)])
        usage = [(f"A{n}", f"2025-{month:02}-{1 + n % 28:02}") for n in range(40) for month in range(1, 13)]
        self._write("usage.csv", ("id", "at"), usage)
        self.file = folder / "garrison.toml"
        self.file.write_text(TOML.format(folder=folder, url=url))
        self.settings = load_settings(self.file)
        self.state = database.open(self.settings)

    def add(self, topic, account, day, *, done=1.0, wording=0, chinese=False):  # noqa: PLR0913  # what a ticket is
        """Add a ticket that is opened so many days after the begin; returns its id."""
        ticket, at = f"T{len(self.rows)}", to_micros(BEGIN) + int(day * DAY)
        opened, closed = (_format(t) for t in (at, at + int((done or 0) * DAY)))
        asks = "请帮忙" if chinese else "please help us"
        self.rows.append((ticket, account, opened, closed if done else "", TEXTS[topic][chinese][wording], asks))
        self.topics[ticket] = topic
        return ticket

    def update(self, day):
        """Bring the library up to date as of so many days after the begin."""
        self._write("tickets.csv", ("ticket", "id", "at", "done", "subject", "body"), self.rows)
        until = datetime.fromtimestamp((to_micros(BEGIN) + day * DAY) / 1e6, UTC)
        with History.open(self.settings) as history:
            return update_library(self.settings, self.state, history, until, TopicLinks(SEEDS, dict(self.topics)))

    def _write(self, name, heads, rows):
        with (self.folder / name).open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([heads, *rows])


def _format(at):
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat()


@pytest.fixture(params=["sqlite", "postgresql"])
def company(request, tmp_path):
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/state.db" if is_sqlite else request.getfixturevalue("postgres_url")
    made = TicketCompany(tmp_path, url)
    yield made
    made.state.close()
