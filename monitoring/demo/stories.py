"""What each sample company's demo tells: its data, its times, and the commands that take long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("var/demo")
REPLAY = FOLDER / "replay.html"


@dataclass(frozen=True)
class DemoStory:
    """One sample company's demo.

    Args:
        sample: Arguments of `features sample`.
        config: Its TOML file.
        before: An earlier `as_of` to score at, so that the alerts can show a trend.
        now: The `as_of` of the newest snapshot.
        truth: Churn score to compare with the sample's truth, such as churn_90d; None if it has no truth.
        harmed: The event table whose last six weeks are taken away, to show that nobody is alerted then; None for none.
        replayed: Begin and end of a past time to replay, after all that the models learned; None for none.
        manager: Who looks at the console.
    """

    sample: tuple[str, ...]
    config: str
    before: str
    now: str
    truth: str | None
    harmed: str | None = None
    replayed: tuple[str, str] | None = None
    manager: str = "manager@tidewater.example"

    def list_journey(self) -> list[tuple[str, ...]]:
        """Return the commands that find the topics of tickets."""
        return [("monitoring", "journey", "build", "--as-of", self.now)]

    def list_problems(self) -> list[tuple[str, ...]]:
        """Return the commands that make problems of topics, search them, and say what serving costs."""
        return [
            ("monitoring", "problems", "update", "--as-of", self.now),
            ("monitoring", "problems", "search", "charged twice 重复扣款"),
            ("monitoring", "cost", "--as-of", self.now, "--accounts", "5"),
        ]

    def list_replay(self) -> list[tuple[str, ...]]:
        """Return the command that replays a past time, if the story has one."""
        if not self.replayed:
            return []
        since, until = self.replayed
        rhythm = ("--every", "month", "--no-curve", "--page", str(REPLAY))
        return [("monitoring", "replay", "--from", since, "--to", until, *rhythm)]


STORIES = {
    "tidewater": DemoStory(
        ("tidewater", "--accounts", "3000", "--months", "24"),
        "docs/examples/tidewater.toml",
        "2025-12-01",
        "2026-01-01",
        "churn_90d",
        "usage",
        ("2025-07-01", "2025-10-01"),
    ),
    "completejourney": DemoStory(
        ("completejourney",),
        "docs/examples/completejourney.toml",
        "2017-12-01",
        "2018-01-01",
        None,
        manager="manager@completejourney.example",
    ),
}
