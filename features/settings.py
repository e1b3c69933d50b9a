"""One TOML file describes a company; here it is typed, checked at once, and read-only from then on."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from features.contract import CONTACT, Kind

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _span(text: object) -> timedelta:
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"(\d+)([mhd])", str(text))
    if not match:
        message = f"{text!r} is not a span of time such as 30m, 6h or 1d"
        raise ValueError(message)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _zone(name: str) -> str:
    if name not in available_timezones():
        message = f"{name!r} is not an IANA time zone such as UTC or Europe/Berlin"
        raise ValueError(message)
    return name


def instant(value: object) -> datetime:
    """Midnight UTC for a date; an aware instant as it is; a naive one is refused."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        if value.tzinfo is None and value.time() != datetime.min.time():
            message = f"{value} has no time zone: write an offset or Z"
            raise ValueError(message)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    message = f"{value!r} is not an ISO date"
    raise ValueError(message)


Span = Annotated[timedelta, BeforeValidator(_span)]
Zone = Annotated[str, AfterValidator(_zone)]
Instant = Annotated[datetime, BeforeValidator(instant)]
Horizons = Annotated[tuple[Annotated[int, Field(ge=1, le=730)], ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Company(_Model):
    """Who it is, and what holds for all its tables."""

    name: str = Field(min_length=1)
    timezone: Zone = "UTC"
    currency: str = "EUR"
    # Labels that look past this instant are immature. Default: the end of the last day that has an event.
    data_until: Instant | None = None

    @property
    def slug(self) -> str:
        """The name as a folder and model name: lower case, words joined by hyphens."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") or "company"


class Source(_Model):
    """Where raw rows lie: files (CSV, CSV.gz, Parquet, globs) or a table in a database."""

    path: str | None = None
    url: str | None = None
    table: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None) or (self.url is None) != (self.table is None):
            message = "give either path, or url and table"
            raise ValueError(message)
        return self


class Value(_Model):
    """How one canonical column comes about: from a column, a constant, or a SQL expression."""

    column: str | None = None
    value: str | int | float | bool | None = None
    sql: str | None = None
    # Raw value to canonical value, e.g. P1 = "urgent"; values not named here stay as they are.
    map: dict[str, str] = {}
    # strptime format of a text time, where it is not ISO.
    format: str | None = None
    # What an attribute of accounts beyond the contract's columns holds.
    kind: Kind = "text"

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(x is not None for x in (self.column, self.value, self.sql)) != 1:
            message = "give exactly one of column, value and sql"
            raise ValueError(message)
        return self


def _value(given: object) -> object:
    return {"column": given} if isinstance(given, str) else given


class TableMap(_Model):
    """How a canonical table comes out of the sources.

    `query` is SQL over the sources by their names; `source` is short for all rows of one of them.
    """

    source: str | None = None
    query: str | None = None
    timezone: Zone | None = None
    # How long after it happens an event is known to us; used where known_at is not mapped.
    lag: Span = timedelta(0)
    # The system whose ids stand in account_id, to be looked up in identities.
    system: str | None = None
    # How such an id is looked up: as it is, or by the domain of the e-mail address (or domain) that it is.
    match: Literal["exact", "email_domain"] = "exact"
    columns: dict[str, Annotated[Value, BeforeValidator(_value)]]

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.source is None) == (self.query is None):
            message = "give either source or query"
            raise ValueError(message)
        return self


class Cohort(_Model):
    """Who is eligible at `as_of`.

    in_force: a purchased term covers `as_of` (only of `products`, where given).
    active: a purchase in the `within_days` before `as_of` (only of `products`, where given).
    using: a use in the `within_days` before `as_of`.
    lifetime: started before `as_of` and not ended by then, after the table `lifetimes`.
    """

    kind: Literal["in_force", "active", "lifetime", "using"]
    within_days: int = Field(default=180, ge=1)
    products: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """The canonical table that tells who is eligible."""
        return {"lifetime": "lifetimes", "using": "usage"}.get(self.kind, "purchases")


class ChurnLabel(_Model):
    """What counts as leaving inside the horizon; defined in `training.kinds`.

    lapse: a term ends and none follows within `grace_days` (only of `products`, where given).
    no_purchase: not one purchase in the horizon (only of `products`, where given).
    no_usage: not one use in the horizon.
    ended: `ended_at` in the table `lifetimes` falls in the horizon.
    downgrade: monthly recurring revenue at the horizon's end below `ratio` times that at `as_of`, but not gone (only
        of `products`, where given).
    """

    kind: Literal["lapse", "no_purchase", "no_usage", "ended", "downgrade"]
    grace_days: int = Field(default=14, ge=0)
    products: tuple[str, ...] = ()
    ratio: float = Field(default=0.95, gt=0, le=1)

    @property
    def table(self) -> str:
        """The canonical table that tells the label."""
        return {"ended": "lifetimes", "no_usage": "usage"}.get(self.kind, "purchases")


class UpsellLabel(_Model):
    """What counts as buying more inside the horizon (only of `products`, where given); defined in `training.kinds`.

    expansion: a purchase of kind expansion.
    new_product: a purchase of a product never bought before the horizon.
    spend_up: spend in the horizon above `ratio` times that of as long a time before; asked only of accounts
        with spend in that time before.
    recurring_up: monthly recurring revenue at the horizon's end above `ratio` times that at `as_of`.
    """

    kind: Literal["expansion", "new_product", "spend_up", "recurring_up"]
    ratio: float = Field(default=1.5, gt=0)
    products: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """The canonical table that tells the label."""
        return "purchases"


class _Target(_Model):
    cohort: Cohort
    horizons: Horizons = (90,)
    # Labels look at [as_of + lead, as_of + lead + horizon): owners have the lead to act in.
    lead_days: int = Field(default=0, ge=0, le=365)


class Churn(_Target):
    """The churn target."""

    label: ChurnLabel
    # What leaving costs: the revenue expected over so many days after it.
    value_days: int = Field(default=365, ge=1)


class Upsell(_Target):
    """The upsell target."""

    label: UpsellLabel


class Training(_Model):
    """Which cutoffs are learned from and which are tested on."""

    # Learned from: month beginnings, or every Monday besides: more rows for a company with few accounts.
    every: Literal["week", "month"] = "month"
    first: Instant | None = None
    # Cutoffs from here on are the test; no training label looks past it. Default: the last quarter of them.
    test_from: Instant | None = None
    last: Instant | None = None
    # Columns, features or sources that the leak probe suspects and that are truly known at `as_of` all the same.
    trusted: tuple[str, ...] = ()
    # Where the catalog says that more of a feature can only raise the risk of leaving, the score never falls with it.
    monotone: bool = True
    seed: int = 7


def _several(given: object) -> object:
    return (given,) if isinstance(given, str) else given


class OwnFeatures(_Model):
    """Features of the company's own, beside the built-in ones."""

    # Python files, from this file's folder, such as "own_features.py". Every command runs the code in them.
    features: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()


class Quality(_Model):
    """How much may be bad before a run stops."""

    max_quarantine: Share = 0.05


class Email(_Model):
    """An SMTP server; user and password come from the environment variables named here."""

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    sender: str
    security: Literal["starttls", "tls", "none"] = "starttls"
    user_env: str | None = None
    password_env: str | None = None


class Alerts(_Model):
    """Who is told of a risk, when, and through what."""

    horizon: int | None = None
    # An episode opens when the score reaches that of the riskiest share of the model's calibration period,
    # and closes when it falls below that of the second share: the gap keeps it from flapping.
    enter_share: Share = 0.05
    leave_share: Share = 0.10
    per_owner: int = Field(default=10, ge=1)
    # Hears of the accounts that have no owner.
    fallback_owner: str | None = None
    email: Email | None = None
    # Without e-mail, messages are written into this folder.
    folder: str | None = None


class Engine(_Model):
    """Where snapshots of the whole company are computed; one posted account's always are in this process."""

    kind: Literal["duckdb", "spark", "postgres"] = "duckdb"
    # Spark's: local[*] is this machine, spark://HOST:PORT a standalone cluster.
    master: str = "local[*]"
    # Spark's, on a cluster: a folder that this machine and all workers see at the same path.
    folder: Path | None = None
    # Spark's own settings, such as "spark.executor.memory" = "4g".
    options: dict[str, str] = {}
    # PostgreSQL's: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, out of the environment through ${NAME}.
    url: str | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.kind == "postgres" and not re.match(r"postgres(ql)?(\+\w+)?://", self.url or ""):
            message = "kind postgres needs a url that begins with postgresql://"
            raise ValueError(message)
        return self


class Paths(_Model):
    """Where outputs go; relative to the working folder."""

    var: Path = Path("var")
    mlruns: Path = Path("mlruns")


class Settings(_Model):
    """The whole file. `file` and `folder` are where it was read from."""

    company: Company
    sources: dict[str, Source] = Field(min_length=1)
    tables: dict[str, TableMap]
    churn: Churn
    upsell: Upsell | None = None
    catalog: OwnFeatures = OwnFeatures()
    training: Training = Training()
    quality: Quality = Quality()
    alerts: Alerts = Alerts()
    engine: Engine = Engine()
    paths: Paths = Paths()
    # Scores, episodes and messages; SQLite in var/ unless another SQLAlchemy URL is given.
    state_url: str | None = None
    file: Path = Field(default=Path("garrison.toml"), exclude=True)

    @property
    def folder(self) -> Path:
        """The TOML file's folder; relative source paths start here."""
        return self.file.parent

    @property
    def var(self) -> Path:
        """The company's folder for all that a run produces."""
        return self.paths.var / self.company.slug

    @property
    def state(self) -> str:
        """SQLAlchemy URL of the state database."""
        return self.state_url or f"sqlite:///{self.var / 'garrison.db'}"

    @property
    def targets(self) -> dict[str, Churn | Upsell]:
        """The targets asked for, by name."""
        return {"churn": self.churn} | ({"upsell": self.upsell} if self.upsell else {})

    @property
    def alert_horizon(self) -> int:
        """Days of the churn horizon that alerts go by: the one set, or else the longest."""
        return self.alerts.horizon or max(self.churn.horizons)

    def zone(self, table: str) -> ZoneInfo:
        """The time zone of a table's naive times."""
        return ZoneInfo(self.tables[table].timezone or self.company.timezone)

    def attributes(self) -> tuple[str, ...]:
        """The mapped columns of accounts that describe it, in the order given."""
        return tuple(c for c in self.tables["accounts"].columns if c not in CONTACT)
