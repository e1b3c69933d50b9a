"""What a CRM's fields are called, and where the CRM is."""

from __future__ import annotations

from features.settings.values import Part


class Crm(Part):
    """The fields of a CRM's accounts that Garrison writes."""

    # Before the name of each of our columns, unless `fields` names it.
    prefix: str = "garrison_"
    # Our column to the CRM's field, such as churn_90d = "Churn_Risk__c".
    fields: dict[str, str] = {}
