"""Hold the facts about one account that a letter states, in no language yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.core.language import Phrase, Sayable
from features.core.safe_line import to_safe_line
from features.definitions import plays
from features.definitions.plays import Play

Text = str | Sayable


@dataclass(frozen=True)
class EarlierScore:
    """The account's last score before this one.

    Args:
        score: Probability.
        as_of: The instant that it looked from.
        model: Version of its model.
        drivers: As the score stored them.
    """

    score: float
    as_of: datetime
    model: str
    drivers: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Action:
    """Something that the reader can do from the letter: the English words, and the signed link."""

    words: str
    link: str


@dataclass(frozen=True)
class AccountRisk:
    """The facts about an account that a letter states. What is a sentence is a phrase, or text that is data.

    Args:
        account_id: Of the account.
        name: Of the account; None if its record has none.
        score: Calibrated probability: of leaving, or for the kind upsell of buying more. None where nobody scored it.
        days: Days from `as_of` to the horizon's end: the target's lead and horizon.
        as_of: The instant that the score looks from.
        earlier: The score before; None if this is the first.
        drivers: As the score stores them: `text`, `contribution`, `actionable`, `play`.
        value: Money a year at stake; None if not known.
        currency: Of the value.
        model: Version of the model that gave the score.
        sources: Event tables that the score was made from, with commas between them.
        episode: Id of the episode.
        base_rate: Share of all accounts that leave in as many days; None where it is not known.
        facts: What happened at the account, dated, in sentences.
        note: What to know about the data behind the score, in one line of the check of the data; "" where all is well.
        kind: Of the episode.
        worsened_from: The score that the owner was last told of, where this letter says that it got worse.
        why_you: Why it comes to this reader and not to the owner on record; "" where it is that one.
        others: Who else was told, and what each was told, in sentences.
        reasons: What opened an episode of another kind than churn, in sentences: its own reason, before the drivers.
        actions: What the reader can do from the letter.
        play_key: Of the next step; "" for the one that follows from the drivers.
    """

    account_id: str
    name: str | None
    score: float | None
    days: int
    as_of: datetime
    earlier: EarlierScore | None
    drivers: Sequence[Mapping[str, Any]]
    value: float | None
    currency: str
    model: str
    sources: str
    episode: str
    base_rate: float | None = None
    facts: Sequence[Text] = ()
    note: str = ""
    kind: str = "churn"
    worsened_from: float | None = None
    why_you: Text = ""
    others: Sequence[Text] = ()
    reasons: Sequence[Text] = ()
    actions: Sequence[Action] = ()
    play_key: str = ""

    @property
    def title(self) -> Text:
        """Return the account's name on one line, or its id where it has none."""
        return to_safe_line(self.name, 80) if self.name else Phrase("Account {id}", {"id": self.shown_id})

    @property
    def shown_id(self) -> str:
        """Return the account's id on one line."""
        return to_safe_line(self.account_id)

    @property
    def play(self) -> Play:
        """Return the next step."""
        return plays.PLAYS.get(self.play_key) or plays.choose_play(self.drivers)
