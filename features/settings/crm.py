"""Define the settings of a CRM: its address, the columns it gets, and the names of its fields."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from features.settings.values import SettingsSection

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _address(url: str) -> str:
    """Return an https address without its last slash: a token must not be sent unencrypted."""
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not safe or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        message = "is not a plain https address such as https://harbour.my.salesforce.com"
        raise ValueError(message)
    return url.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]
# Needs no escaping in a URL or in CSV.
_Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]


class Salesforce(SettingsSection):
    """A Salesforce org: with a client id and secret, or with a token that another program renews."""

    # My Domain, such as https://harbour.my.salesforce.com.
    instance_url: Address | None = None
    # The object whose records are written.
    object: _Name = "Account"
    # The custom field, unique and an external id, that holds our account_id.
    external_id: _Name = "Garrison_Account_Id__c"
    # Environment variables.
    client_id_env: str = "SALESFORCE_CLIENT_ID"
    client_secret_env: str = "SALESFORCE_CLIENT_SECRET"  # noqa: S105  # the name of a variable, not a secret
    token_env: str | None = None


class HubSpot(SettingsSection):
    """A HubSpot portal."""

    # The object whose records are written.
    object: _Name = "companies"
    # The property with unique values that holds our account_id.
    id_property: _Name = "garrison_account_id"
    # The environment variable with a private app's token.
    token_env: str = "HUBSPOT_TOKEN"  # noqa: S105  # the name of a variable, not a secret
    # Its address.
    url: Address = "https://api.hubapi.com"


class Crm(SettingsSection):
    """The fields of a CRM's accounts that Garrison writes; it writes no other."""

    # Before the name of each of our columns, unless `fields` names it.
    prefix: str = Field(default="garrison_", pattern=r"^[a-z][a-z0-9_]*_$")
    # Our column to the CRM's field, such as churn_90d = "Churn_Risk__c".
    fields: dict[str, _Name] = {}
    # Which of our columns to send. Default: all.
    columns: tuple[str, ...] = ()
    # How often a request or a row is tried, and seconds before the second try; doubled with each.
    tries: int = Field(default=5, ge=1, le=20)
    wait_s: float = Field(default=1.0, gt=0, le=60)
    # For `serving score --to salesforce`.
    salesforce: Salesforce = Salesforce()
    # For `serving score --to hubspot`.
    hubspot: HubSpot = HubSpot()
