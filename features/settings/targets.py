"""Define the settings of targets: cohorts, labels, horizons, and the cutoffs of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from features.settings.values import Horizons, Instant, SettingsSection, Share


class Cohort(SettingsSection):
    """The accounts that are eligible at `as_of`.

    in_force: a purchased term covers `as_of` (only of `products`, where given).
    active: a purchase in the `within_days` before `as_of` (only of `products`, where given).
    using: a use in the `within_days` before `as_of`.
    lifetime: started before `as_of` and not ended by then, after the table `lifetimes`.
    """

    # What makes an account eligible.
    kind: Literal["in_force", "active", "lifetime", "using"]
    # Days before `as_of` in which active and using accounts did something.
    within_days: int = Field(default=180, ge=1)
    # Only of these, by the names in the column `product`.
    products: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """Return the canonical table that decides who is eligible."""
        return {"lifetime": "lifetimes", "using": "usage"}.get(self.kind, "purchases")


class ChurnLabel(SettingsSection):
    """The definition of leaving inside the horizon; computed in `training.targets.label_definitions`.

    lapse: a term ends and none follows within `grace_days` (only of `products`, where given).
    no_purchase: not one purchase in the horizon (only of `products`, where given).
    no_usage: not one use in the horizon.
    ended: `ended_at` in the table `lifetimes` falls in the horizon.
    downgrade: monthly recurring revenue at the horizon's end below `ratio` times that at `as_of`, but not gone (only
        of `products`, where given).
    """

    # What counts as leaving.
    kind: Literal["lapse", "no_purchase", "no_usage", "ended", "downgrade"]
    # Days after a term's end in which the next may begin.
    grace_days: int = Field(default=14, ge=0)
    # Only of these, by the names in the column `product`.
    products: tuple[str, ...] = ()
    # Revenue below this share of that at `as_of` is a downgrade.
    ratio: float = Field(default=0.95, gt=0, le=1)

    @property
    def table(self) -> str:
        """Return the canonical table that the label is made of."""
        return {"ended": "lifetimes", "no_usage": "usage"}.get(self.kind, "purchases")


class UpsellLabel(SettingsSection):
    """The definition of buying more inside the horizon (only of `products`, where given).

    Computed in `training.targets.label_definitions`.

    expansion: a purchase of kind expansion.
    new_product: a purchase of a product never bought before the horizon.
    spend_up: spend in the horizon above `ratio` times that of as long a time before; only for accounts
        with spend in that time before.
    recurring_up: monthly recurring revenue at the horizon's end above `ratio` times that at `as_of`.
    """

    # What counts as buying more.
    kind: Literal["expansion", "new_product", "spend_up", "recurring_up"]
    # Spend or revenue above so many times that before is more.
    ratio: float = Field(default=1.5, gt=0)
    # Only of these, by the names in the column `product`.
    products: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """Return the canonical table that the label is made of."""
        return "purchases"


class _Target(SettingsSection):
    # Who is asked.
    cohort: Cohort
    # Days that labels look ahead; one model for each.
    horizons: Horizons = (90,)
    # Labels look at [as_of + lead, as_of + lead + horizon): owners have the lead to act in.
    lead_days: int = Field(default=0, ge=0, le=365)


class Churn(_Target):
    """The churn target."""

    # What counts as leaving.
    label: ChurnLabel
    # What leaving costs: the revenue expected over so many days after it.
    value_days: int = Field(default=365, ge=1)


class Satisfied(SettingsSection):
    """Whom a sale may be offered to: what stands against one, each with its limit.

    Args:
        least_csat: Mean CSAT of 90 days, on the source's own scale; None asks for none.
        open_urgent: Most high or urgent tickets that may stand open.
        escalations: Most escalated tickets in 90 days.
        unpaid: Largest share of the purchases of a year that may be unpaid.
        risk: Most times the odds of leaving of the average account.
    """

    least_csat: float | None = None
    open_urgent: int = Field(default=0, ge=0)
    escalations: int = Field(default=0, ge=0)
    unpaid: Share = 0.1
    risk: float = Field(default=1.0, gt=0)


class Upsell(_Target):
    """The upsell target."""

    # What counts as buying more.
    label: UpsellLabel
    # A sale is likely from so many times the odds of the average account, and the chance is gone below so many.
    likely: float = Field(default=2.0, ge=1)
    gone: float = Field(default=1.0, ge=1)
    # Who counts as satisfied: a sale is offered to them alone.
    satisfied: Satisfied = Satisfied()

    @model_validator(mode="after")
    def _check(self) -> Upsell:
        if self.gone > self.likely:
            message = f"gone {self.gone:g} is above likely {self.likely:g}: an episode would close as it opens"
            raise ValueError(message)
        return self


class Training(SettingsSection):
    """The cutoffs that models learn from, and those they are tested on."""

    # Learned from: month beginnings, or every Monday besides: more rows for a company with few accounts.
    every: Literal["week", "month"] = "month"
    # The first cutoff; by default the first with enough history before it.
    first: Instant | None = None
    # Cutoffs from here on are the test; no training label looks past it. Default: the last quarter of them.
    test_from: Instant | None = None
    # The last cutoff; by default the last whose labels are mature.
    last: Instant | None = None
    # Columns, features or sources that are truly known at `as_of`: suspects of the leak probe, and undated numbers of
    # accounts, which are learned from only if they are named here. "accounts" names all of those.
    trusted: tuple[str, ...] = ()
    # Where the catalog says that more of a feature can only raise the risk of leaving, the score never falls with it.
    monotone: bool = True
    # What becomes of rows whose owner an alert told to act before the label was known. "column" learns what acting does
    # and scores as if nobody acts; "keep" learns from them as they came out; "leave_out" leaves them out, and lets like
    # rows that nobody was told of count for them: for a company that leaves many at high risk alone by lot. See
    # docs/proof.md.
    treated: Literal["column", "keep", "leave_out"] = "keep"
    # The same seed gives the same model.
    seed: int = 7
