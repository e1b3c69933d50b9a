"""Define the typed, read-only settings of a company, which one TOML file holds."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field

from features.core.contract import CONTACT, FLAG, TABLES, TEXT, Column
from features.settings.alerts import Alerts, Email
from features.settings.binding import Binding
from features.settings.console import ConsoleSettings
from features.settings.crm import Crm, HubSpot, Salesforce
from features.settings.episodes import Cadence, Episodes
from features.settings.experiment import Experiment
from features.settings.journey import Journey
from features.settings.loading import LoadedSystem, LoadedTable, Name
from features.settings.monitoring import Monitoring
from features.settings.privacy import Privacy
from features.settings.reports import Reports
from features.settings.retention import Retention
from features.settings.service import CostToServe, Problems
from features.settings.serving import Serving
from features.settings.stakes import Capacity, Stakes
from features.settings.tables import Engine, OwnFeatures, Quality, Source, TableMap, Value
from features.settings.targets import Churn, ChurnLabel, Cohort, Satisfied, Training, Upsell, UpsellLabel
from features.settings.texts import Texts
from features.settings.tiers import Tiers
from features.settings.values import Instant, SettingsSection, Zone, parse_instant, slugify

__all__ = [
    "Alerts",
    "Binding",
    "Cadence",
    "Capacity",
    "Churn",
    "ChurnLabel",
    "Cohort",
    "Company",
    "ConsoleSettings",
    "CostToServe",
    "Crm",
    "Email",
    "Engine",
    "Episodes",
    "Experiment",
    "HubSpot",
    "Journey",
    "LoadedSystem",
    "LoadedTable",
    "LoadingSettings",
    "Monitoring",
    "OwnFeatures",
    "Paths",
    "Privacy",
    "Problems",
    "Quality",
    "Salesforce",
    "Satisfied",
    "Serving",
    "Settings",
    "Source",
    "Stakes",
    "TableMap",
    "Texts",
    "Tiers",
    "Training",
    "Upsell",
    "UpsellLabel",
    "Value",
    "parse_instant",
]


class Company(SettingsSection):
    """The company: its name, and what holds for all its tables."""

    # Names its folder, its models and its pages.
    name: str = Field(min_length=1)
    # Of times without an offset, unless a table has its own.
    timezone: Zone = "UTC"
    # The reporting currency, a code of three letters: all amounts are converted into it, all values are told in it.
    currency: str = "EUR"
    # The first month of the fiscal year, 1 to 12: quarters and years of reports are counted from it.
    fiscal_year_starts: int = Field(default=1, ge=1, le=12)
    # Labels that look past this instant are immature. Default: the end of the last day that has an event.
    data_until: Instant | None = None

    @property
    def slug(self) -> str:
        """Return the name as a folder and model name: lower case, words joined by hyphens."""
        return slugify(self.name)


class Paths(SettingsSection):
    """The folders of outputs, relative to the working folder."""

    # All that runs produce, in a folder for each company.
    var: Path = Path("var")
    # MLflow's database and models.
    mlruns: Path = Path("mlruns")


class Settings(SettingsSection):
    """The whole TOML file; `file` and `folder` are its place."""

    company: Company
    sources: dict[str, Source] = Field(min_length=1)
    tables: dict[str, TableMap]
    churn: Churn
    upsell: Upsell | None = None
    catalog: OwnFeatures = OwnFeatures()
    training: Training = Training()
    quality: Quality = Quality()
    texts: Texts = Texts()
    alerts: Alerts = Alerts()
    episodes: Episodes = Episodes()
    stakes: Stakes = Stakes()
    capacity: Capacity = Capacity()
    # Days from one contact to the next, by tier; a tier that is not named has none.
    cadence: Cadence = {}
    engine: Engine = Engine()
    serving: Serving = Serving()
    crm: Crm = Crm()
    monitoring: Monitoring = Monitoring()
    reports: Reports = Reports()
    retention: Retention = Retention()
    privacy: Privacy = Privacy()
    tiers: Tiers = Tiers()
    binding: Binding = Binding()
    experiment: Experiment = Experiment()
    console: ConsoleSettings = ConsoleSettings()
    journey: Journey = Journey()
    problems: Problems = Problems()
    cost_to_serve: CostToServe = CostToServe()
    load: dict[Name, LoadedSystem] = {}
    paths: Paths = Paths()
    # Scores, episodes and messages; SQLite in var/ unless another SQLAlchemy URL is given.
    state_url: str | None = None
    file: Path = Field(default=Path("garrison.toml"), exclude=True)

    @property
    def folder(self) -> Path:
        """Return the TOML file's folder; relative source paths start here."""
        return self.file.parent

    @property
    def var(self) -> Path:
        """Return the company's folder for all that a run produces."""
        return self.paths.var / self.company.slug

    @property
    def state(self) -> str:
        """Return the SQLAlchemy URL of the state database."""
        return self.state_url or f"sqlite:///{self.var / 'garrison.db'}"

    @property
    def targets(self) -> dict[str, Churn | Upsell]:
        """Return the targets of the company, by name."""
        return {"churn": self.churn} | ({"upsell": self.upsell} if self.upsell else {})

    @property
    def alert_horizon(self) -> int:
        """Return the days of the churn horizon that alerts use: the one set, or else the longest."""
        return self.alerts.horizon or max(self.churn.horizons)

    def zone(self, table: str) -> ZoneInfo:
        """Return the time zone of a table's naive times."""
        return ZoneInfo(self.tables[table].timezone or self.company.timezone)

    def attributes(self) -> tuple[str, ...]:
        """Return the mapped columns that describe an account, in the order of the TOML."""
        return tuple(c for c in self.tables["accounts"].columns if c not in CONTACT)

    @property
    def are_attributes_dated(self) -> bool:
        """Return whether accounts have versions by time; otherwise their values are those of the export's day."""
        return "valid_from" in self.tables["accounts"].columns

    def untrusted_attributes(self) -> tuple[str, ...]:
        """Return the numbers and times of accounts that no model learns from: undated, and not in training.trusted."""
        trusted, mapped, contract = self.training.trusted, self.tables["accounts"].columns, TABLES["accounts"].columns
        if self.are_attributes_dated or "accounts" in trusted:
            return ()
        kinds = {c: (contract.get(c) or Column(mapped[c].kind)).kind for c in self.attributes()}
        return tuple(c for c, kind in kinds.items() if kind not in {TEXT, FLAG} and c not in trusted)


class LoadingSettings(SettingsSection):
    """The part of the TOML file that loading reads: the rest may still be missing."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    company: Company
    load: dict[Name, LoadedSystem] = Field(min_length=1)
    paths: Paths = Paths()
    file: Path = Field(default=Path("garrison.toml"), exclude=True)

    @property
    def folder(self) -> Path:
        """Return the folder of all loaded tables."""
        return self.paths.var / self.company.slug / "load"
