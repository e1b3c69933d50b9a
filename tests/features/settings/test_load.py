"""The TOML file: every mistake is named, with its key, what was given and what is allowed."""

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pydantic
import pytest

from features.core.errors import SettingsError
from features.settings import ChurnLabel, Cohort, UpsellLabel
from features.settings.load import load_settings

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").glob("*.toml"))


def refused(company):
    with pytest.raises(SettingsError) as error:
        company.settings()
    said = str(error.value)
    assert str(company.file) in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda f: f.stem)
def test_every_example_in_the_documents_is_a_valid_file(file):
    assert load_settings(file).tables["accounts"]


def test_a_dictionary_is_read_as_the_file_would_be(company, monkeypatch):
    company.write()
    with company.file.open("rb") as file:
        raw = tomllib.load(file)
    monkeypatch.setenv("HARBOUR", "Harbour Two")
    settings_ = load_settings({**raw, "company": {"name": "${HARBOUR}"}})
    assert settings_.company.name == "Harbour Two"
    assert settings_.tables == company.settings().tables
    with pytest.raises(SettingsError, match=r"the dictionary has settings that are not allowed: compny: .*company"):
        load_settings({**raw, "compny": {}})


def test_the_page_on_companies_names_every_kind_of_cohort_and_label():
    page = (EXAMPLES[0].parents[1] / "company.md").read_text(encoding="utf-8")
    kinds = {k for m in (Cohort, ChurnLabel, UpsellLabel) for k in get_args(m.model_fields["kind"].annotation)}
    assert {"no_usage", "using"} <= kinds
    assert [k for k in sorted(kinds) if f"`{k}`" not in page] == []


@pytest.mark.parametrize(
    ("where", "key", "hint"),
    [
        ((), "qualty", "quality"),
        (("company",), "time_zone", "timezone"),
        (("sources", "accounts"), "pth", "path"),
        (("tables", "purchases"), "colums", "columns"),
        (("churn", "label"), "grace_day", "grace_days"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(company, where, key, hint):
    place = company.toml
    for part in where:
        place = place[part]
    place[key] = "x"
    assert f"{'.'.join((*where, key))}: this key is unknown. Did you mean {hint}" in refused(company)


def test_an_unknown_keys_value_is_not_repeated_for_it_may_be_a_secret(company, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2")
    company.toml["alerts"] = {"email": {"host": "h", "sender": "s", "password": "${SMTP_PASSWORD}"}}
    said = refused(company)
    assert "alerts.email.password: this key is unknown. Did you mean password_env" in said
    assert "hunter2" not in said


def test_a_value_of_the_wrong_type_is_named_with_what_was_given(company):
    company.toml["training"] = {"seed": "seven"}
    said = refused(company)
    assert "training.seed: Input should be a valid integer" in said
    assert "'seven'" in said


def test_a_value_out_of_range_is_named_with_the_range(company):
    company.toml["quality"] = {"max_quarantine": 1.5}
    assert "quality.max_quarantine: Input should be less than or equal to 1 (given: 1.5)" in refused(company)


def test_the_values_allowed_are_named_where_they_are_few(company):
    company.toml["churn"]["cohort"]["kind"] = "inforce"
    said = refused(company)
    assert "churn.cohort.kind: Input should be 'in_force', 'active', 'lifetime' or 'using' (given: 'inforce')" in said


@pytest.mark.parametrize("place", [("company",), ("tables", "purchases")])
def test_a_zone_that_does_not_exist_is_refused(company, place):
    where = company.toml
    for part in place:
        where = where[part]
    where["timezone"] = "Europe/Bremen"
    assert f"{'.'.join(place)}.timezone: 'Europe/Bremen' is not an IANA time zone" in refused(company)


@pytest.mark.parametrize("lag", ["6 hours", "1.5h", 6])
def test_a_lag_that_is_no_span_is_refused_with_the_form_to_use(company, lag):
    company.toml["tables"]["purchases"]["lag"] = lag
    assert f"tables.purchases.lag: {lag!r} is not a span of time such as 30m, 6h or 1d" in refused(company)


def test_several_problems_are_named_at_once(company):
    company.toml["company"]["timezone"] = "Mars"
    company.toml["training"] = {"seed": "seven", "evry": "week"}
    said = refused(company)
    assert all(part in said for part in ("company.timezone", "training.seed", "training.evry"))


def test_several_contradictions_are_named_at_once(company):
    company.toml["alerts"] = {"horizon": 30}
    company.toml["tables"]["purchases"]["source"] = "purchase"
    said = refused(company)
    assert "alerts.horizon 30 is not one of churn.horizons [90]" in said
    assert "tables.purchases.source 'purchase' is not in [sources]. Did you mean purchases?" in said


def test_a_secret_comes_in_from_the_environment(company, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    company.toml["state_url"] = "postgresql://garrison:${DB_PASSWORD}@${DB_HOST:-localhost}/state"
    assert company.settings().state == "postgresql://garrison:hunter2@localhost/state"


def test_a_variable_of_the_environment_goes_before_its_default(company, monkeypatch):
    monkeypatch.setenv("NAME", "Quay")
    company.toml["company"]["name"] = "${NAME:-Harbour}"
    assert company.settings().company.name == "Quay"


def test_variables_are_filled_in_inside_lists_too(company, monkeypatch):
    monkeypatch.setenv("PRODUCT", "berth")
    company.toml["tables"]["purchases"]["columns"]["product"] = "product"
    company.toml["churn"]["cohort"]["products"] = ["${PRODUCT}"]
    assert company.settings().churn.cohort.products == ("berth",)


def test_a_variable_that_is_not_set_is_named_with_its_key(company, monkeypatch):
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    company.toml["state_url"] = "postgresql://garrison:${DB_PASSWORD}@localhost/state"
    said = refused(company)
    assert "needs the environment variable DB_PASSWORD for state_url" in said
    assert "export DB_PASSWORD=" in said


def test_a_company_without_accounts_is_refused(company):
    company.toml["tables"]["acounts"] = company.toml["tables"].pop("accounts")
    said = refused(company)
    assert "tables.accounts is missing" in said
    assert "tables.acounts is not a table of the contract. Did you mean accounts or contracts?" in said


def test_a_column_that_the_contract_needs_must_be_mapped(company):
    del company.toml["tables"]["purchases"]["columns"]["amount"]
    assert "tables.purchases.columns.amount is missing: the contract needs it" in refused(company)


def test_a_column_that_is_not_in_the_contract_is_refused_with_the_nearest(company):
    company.toml["tables"]["purchases"]["columns"]["amout"] = "amount"
    assert "tables.purchases.columns.amout is not in the contract. Did you mean amount" in refused(company)


def test_accounts_take_any_column_as_an_attribute(company):
    columns = {"rank": {"column": "r", "kind": "decimal"}, "plan": "p", "name": "n", "owner_email": "o"}
    company.toml["tables"]["accounts"]["columns"] |= columns
    assert company.settings().attributes() == ("rank", "plan")


@pytest.mark.parametrize("both", [True, False])
def test_a_table_comes_from_either_a_source_or_a_query(company, both):
    table = company.toml["tables"]["purchases"]
    if both:
        table["query"] = "SELECT * FROM purchases"
    else:
        del table["source"]
    assert "tables.purchases: give either source or query" in refused(company)


@pytest.mark.parametrize(
    "place", [{}, {"url": "sqlite:///x.db"}, {"path": "a.csv", "url": "sqlite:///x.db", "table": "t"}]
)
def test_a_source_is_either_a_path_or_a_url_with_its_table(company, place):
    company.toml["sources"]["accounts"] = place
    assert "sources.accounts: give either path, or url and table" in refused(company)


@pytest.mark.parametrize("value", [{}, {"column": "amount", "sql": "1"}, {"sql": "1", "value": 1}])
def test_a_column_comes_from_exactly_one_origin(company, value):
    company.toml["tables"]["purchases"]["columns"]["amount"] = value
    assert "tables.purchases.columns.amount: give exactly one of column, value and sql" in refused(company)


def test_alerts_can_only_go_by_a_horizon_that_churn_has(company):
    company.toml["churn"]["horizons"] = [30, 90]
    company.toml["alerts"] = {"horizon": 60}
    assert "alerts.horizon 60 is not one of churn.horizons [30, 90]" in refused(company)


def test_alerts_go_by_the_longest_horizon_unless_told_otherwise(company):
    company.toml["churn"]["horizons"] = [30, 180, 90]
    assert company.settings().alert_horizon == 180
    company.toml["alerts"] = {"horizon": 30}
    assert company.settings().alert_horizon == 30


def test_an_episode_must_not_close_as_it_opens(company):
    company.toml["episodes"] = {"at_risk": 1.2, "recovered": 1.3}
    assert "recovered 1.3 is above at_risk 1.2: an episode would close as it opens" in refused(company)


@pytest.mark.parametrize(
    ("cohort", "label", "wanted"),
    [
        ("lifetime", "no_purchase", "churn has kind lifetime or ended, but there is no [tables.lifetimes]"),
        ("active", "ended", "churn has kind lifetime or ended, but there is no [tables.lifetimes]"),
        ("in_force", "lapse", "purchases maps no term_ends_at and term_starts_at"),
    ],
)
def test_a_target_needs_the_tables_that_tell_it(company, cohort, label, wanted):
    company.toml["churn"] = {"cohort": {"kind": cohort}, "label": {"kind": label}}
    assert wanted in refused(company)


def test_a_target_told_by_purchases_needs_them(company):
    del company.toml["tables"]["purchases"]
    assert "churn needs the table purchases, but there is no [tables.purchases]" in refused(company)


def test_ids_of_a_system_need_identities_to_look_them_up_in(company):
    company.toml["tables"]["purchases"]["system"] = "billing"
    assert "tables.purchases.system is set, but there is no [tables.identities]" in refused(company)


def test_accounts_have_no_system_but_their_own(company):
    company.table("identities", "system,external_id,account_id", "crm,1,A")
    company.toml["tables"]["accounts"]["system"] = "crm"
    assert "tables.accounts.system can't be" in refused(company)


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no settings file .*none\.toml.*--config FILE"):
        load_settings(tmp_path / "none.toml")


@pytest.mark.parametrize("content", [b"company = \n", b'[company]\nname = "A"\nname = "B"\n'])
def test_a_file_that_is_not_toml_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / "garrison.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"garrison\.toml is not TOML\. found: .+ .+\.$"):
        load_settings(file)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_of_another_encoding_is_refused_with_the_line(company, encoding):
    company.toml["alerts"] = {"fallback_owner": "jürgen@harbour.example"}
    file = company.write()
    line = (
        file.read_text("utf-8")
        .splitlines()
        .index(next(t for t in file.read_text("utf-8").splitlines() if "j\\u00fcrgen" in t))
    )
    file.write_bytes(file.read_text("utf-8").replace("\\u00fc", "ü").encode(encoding))
    place = line + 1 if encoding == "latin-1" else 1
    with pytest.raises(SettingsError, match=rf"is not UTF-8\. found: line {place} has bytes .* Save it as UTF-8\.$"):
        load_settings(file)


def test_a_byte_order_mark_is_no_fault(company):
    file = company.write()
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_settings(file).company.name == "Harbour"


def test_instants_are_utc_a_date_being_its_midnight(company):
    company.toml["company"]["data_until"] = "2024-01-31"
    company.toml["training"] = {"first": "2024-01-01T10:00:00+02:00"}
    settings = company.settings()
    assert settings.company.data_until == datetime(2024, 1, 31, tzinfo=UTC)
    assert settings.training.first == datetime(2024, 1, 1, 8, tzinfo=UTC)


def test_an_instant_without_a_zone_is_refused(company):
    company.toml["training"] = {"first": "2024-01-01T10:00:00"}
    assert "training.first: 2024-01-01 10:00:00 has no time zone: write an offset or Z" in refused(company)


def test_spans_are_minutes_hours_or_days(company):
    lags = {"90m": timedelta(minutes=90), "6h": timedelta(hours=6), "2d": timedelta(days=2)}
    for text, span in lags.items():
        company.toml["tables"]["purchases"]["lag"] = text
        assert company.settings().tables["purchases"].lag == span


def test_settings_are_read_only(company):
    settings = company.settings()
    with pytest.raises(pydantic.ValidationError):
        settings.state_url = "sqlite:///other.db"


def test_outputs_go_to_a_folder_named_after_the_company(company):
    company.toml["company"]["name"] = "Große Häfen & Co."
    settings = company.settings()
    assert settings.var == Path(company.folder) / "var" / "gro-e-h-fen-co"
    assert settings.state == f"sqlite:///{settings.var}/garrison.db"
