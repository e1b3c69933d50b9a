"""Define the features of the account itself, and of the columns that a company maps as attributes."""

from __future__ import annotations

from typing import Any

import ibis

from features.core.contract import TABLES, Column, ibis_type
from features.core.language import Phrase
from features.definitions.feature import DAY, Feature, FeatureContext, feature
from features.settings import Settings


@feature(unit="days", family="tenure", says="an account for {value:,.0f} day{s}")
def tenure_days(at: FeatureContext) -> Any:
    """Days since the account was created."""
    return (at.as_of - at.account("created_at")) / DAY


@feature(unit="days", family="anniversary", says="{value:.0f} day{s} from an anniversary of the account")
def days_to_anniversary(at: FeatureContext) -> Any:
    """Days to the nearest anniversary of the account's creation, ahead or gone by, up to the 30th."""
    tenure = (at.as_of - at.account("created_at")) / DAY
    return ibis.least(*((tenure - 365.25 * years).abs() for years in range(1, 31)))


def list_attributes(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return the attributes of accounts that the settings map, each with the name of its Ibis type."""
    mapped = settings.tables["accounts"].columns
    contract = TABLES["accounts"].columns
    return tuple((c, ibis_type(contract.get(c) or Column(mapped[c].kind))) for c in settings.attributes())


def create_attribute_feature(name: str) -> Feature:
    """Create the feature of a mapped column of `accounts`: context, which nobody can act on."""
    label = name.replace("_", " ")
    meaning = Phrase("The account's {label}, as its record says.", {"label": label})
    return Feature(
        name=name,
        sentence=str(meaning),
        formula=lambda at: at.account(name),
        window=None,
        unit="as recorded",
        missing="not recorded",
        family=name,
        direction=0,
        play=None,
        wording=lambda value: Phrase(
            "{label}: {value:,.15g}" if isinstance(value, float) else "{label}: {value}",
            {"label": label, "value": value},
        ),
        meaning=meaning,
    )


FEATURES = (*tenure_days, *days_to_anniversary)
