"""Features of the account itself, and the columns that a company maps as attributes."""

from __future__ import annotations

from typing import Any

from features.definition import DAY, At, Feature, feature


@feature(unit="days", family="tenure", says="an account for {value:,.0f} days")
def tenure_days(at: At) -> Any:
    """Days since the account was created."""
    return (at.as_of - at.account("created_at")) / DAY


def attribute(name: str) -> Feature:
    """The feature that a mapped column of `accounts` is: context, which nobody can act on."""
    spoken = name.replace("_", " ")
    return Feature(
        name=name,
        sentence=f"The account's {spoken}, as its record says.",
        formula=lambda at: at.account(name),
        window=None,
        unit="as recorded",
        missing="not recorded",
        family=name,
        direction=0,
        play=None,
        wording=lambda value: f"{spoken}: {value:,.15g}" if isinstance(value, float) else f"{spoken}: {value}",
    )


FEATURES = (*tenure_days,)
