from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest

from features.core.errors import DeliveryError
from features.settings import Crm
from serving.batch import run
from serving.delivery import crm_fields
from serving.scoring.score_table import Explain


def settings(**crm: Any) -> Any:
    churn = SimpleNamespace(horizons=(30, 90))
    return SimpleNamespace(crm=Crm.model_validate(crm), targets={"churn": churn})


COLUMNS: Any = {"as_of": "instant", "churn_90d": "share", "value": "money", "drivers": "long"}


def names(cloud: Any, **crm: Any) -> dict[str, str]:
    return {field.column: field.name for field in crm_fields.map_fields(settings(**crm), cloud, COLUMNS)}


def test_every_column_of_a_batch_is_expected(own_harbour: Any, now: Any, tmp_path: Any) -> None:
    run.score_accounts(
        own_harbour.settings, f"{tmp_path}/s.parquet", as_of=now, explain=Explain.NONE, even_if_held=True
    )
    found = crm_fields.infer_kinds(pd.read_parquet(tmp_path / "s.parquet"))
    expected = crm_fields.list_expected_columns(own_harbour.settings)
    assert {name: expected.get(name) for name in found} == found
    assert set(expected) == set(found)


def test_fields_are_named_by_the_prefix_and_the_cloud() -> None:
    assert names("hubspot")["churn_90d"] == "garrison_churn_90d"
    assert names("salesforce")["churn_90d"] == "Garrison_Churn_90d__c"
    assert names("salesforce")["as_of"] == "Garrison_As_Of__c"
    assert names("hubspot", prefix="health_")["value"] == "health_value"


def test_the_map_goes_before_the_prefix() -> None:
    assert names("salesforce", fields={"churn_90d": "Churn_Risk__c"})["churn_90d"] == "Churn_Risk__c"


def test_only_the_columns_asked_for_are_sent_and_the_instant_with_them() -> None:
    assert list(names("hubspot", columns=["churn_90d"])) == ["as_of", "churn_90d"]


def test_the_ends_of_an_interval_are_sent_only_where_they_are_asked_for() -> None:
    columns: Any = {**COLUMNS, "churn_90d_low": "share", "churn_90d_high": "share"}
    without = crm_fields.map_fields(settings(), "hubspot", columns)
    assert [field.column for field in without] == list(COLUMNS)
    asked = crm_fields.map_fields(settings(columns=["churn_90d", "churn_90d_low"]), "salesforce", columns)
    assert [field.name for field in asked][-1] == "Garrison_Churn_90d_Low__c"


@pytest.mark.parametrize("name", ["Name", "OwnerId", "Industry", "garrison_value"])
def test_a_standard_field_of_salesforce_is_refused(name: str) -> None:
    with pytest.raises(DeliveryError, match=f"{name} is no custom field of Salesforce.*crm.fields.value"):
        names("salesforce", fields={"value": name})


@pytest.mark.parametrize("name", ["name", "domain", "hubspot_owner_id", "hs_lead_status", "lifecyclestage"])
def test_a_property_of_hubspots_own_is_refused(name: str) -> None:
    with pytest.raises(DeliveryError, match=f"{name} is no custom field of HubSpot"):
        names("hubspot", fields={"value": name})


@pytest.mark.parametrize(
    "crm",
    [
        {"fields": {"value": "Risk__c", "churn_90d": "risk__C".replace("C", "c")}},
        {"fields": {"value": "Garrison_Account_Id__c"}},
        {"fields": {"value": "Garrison_Churn_90d__c"}},
    ],
)
def test_two_columns_never_share_a_field_nor_take_the_ids(crm: dict[str, Any]) -> None:
    with pytest.raises(DeliveryError, match="to two columns"):
        names("salesforce", **crm)


@pytest.mark.parametrize("crm", [{"columns": ["chrun_90d"]}, {"fields": {"chrun_90d": "X__c"}}])
def test_an_unknown_column_is_named_with_the_nearest(crm: dict[str, Any]) -> None:
    with pytest.raises(DeliveryError, match=r"chrun_90d\. Did you mean churn_90d"):
        names("salesforce", **crm)


def test_values_are_made_ready_for_the_crm() -> None:
    frame = pd.DataFrame(
        {
            "account_id": ["a", "b"],
            "as_of": pd.to_datetime(["2024-01-01T06:30:00.123456", "2024-01-01"], utc=True, format="ISO8601"),
            "churn_90d": [1 / 3, np.nan],
            "value": [np.inf, -0.001],
            "drivers": ["a\x00b" + "x" * 6_000, ""],
        }
    )
    first, second = crm_fields.build_records(frame, crm_fields.map_fields(settings(), "hubspot", COLUMNS))
    drivers = first.content["garrison_drivers"]
    assert (drivers[:2], len(drivers), drivers[-1]) == ("ab", 5_000, "…")
    assert first.content["garrison_as_of"] == "2024-01-01T06:30:00.123Z"
    assert (first.content["garrison_churn_90d"], first.content["garrison_value"]) == (0.3333, None)
    assert [second.content[f"garrison_{c}"] for c in ("churn_90d", "drivers")] == [None, None]
    assert str(second.content["garrison_value"]) == "0.0"


def test_the_instant_alone_makes_no_row_a_changed_one() -> None:
    def row(as_of: str, score: float) -> str:
        frame = pd.DataFrame({"account_id": ["a"], "as_of": pd.to_datetime([as_of], utc=True), "churn_90d": [score]})
        return crm_fields.build_records(
            frame, crm_fields.map_fields(settings(), "hubspot", crm_fields.infer_kinds(frame))
        )[0].digest

    assert row("2024-01-01", 0.5) == row("2024-02-01", 0.500001)
    assert row("2024-01-01", 0.5) != row("2024-01-01", 0.51)


@pytest.mark.parametrize(
    "crm",
    [
        {"salesforce": {"instance_url": "http://harbour.my.salesforce.com"}},
        {"hubspot": {"url": "http://10.0.0.1"}},
        {"hubspot": {"url": "https://user:secret@api.hubapi.com"}},
        {"hubspot": {"url": "ftp://localhost"}},
        {"hubspot": {"url": "https://api.hubapi.com/?x=1"}},
        {"salesforce": {"object": "Account/../User"}},
        {"prefix": ""},
        {"tries": 0},
    ],
)
def test_settings_that_would_send_secrets_in_the_open_or_elsewhere_are_refused(crm: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        Crm.model_validate(crm)
    assert Crm.model_validate({"hubspot": {"url": "http://127.0.0.1:8080/"}}).hubspot.url == "http://127.0.0.1:8080"
