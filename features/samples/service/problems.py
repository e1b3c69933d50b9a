"""Read the hidden problems of tidewater, and arrange their shares for drawing."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from features.samples.causes import Floats
from features.samples.tickets import TOPICS

_FILE = Path(__file__).with_name("problems.toml")
_MISTAGGED = 0.06  # share of ordinary tickets whose tag says nothing of their problem
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Problem:
    """A hidden problem.

    Args:
        key: Its name in the truth.
        topic: The company's tag of most of its tickets, an index in `TOPICS`.
        usual: Its share of the topic's ordinary tickets.
        failing: Its share of the topic's tickets that tell of a failure of the service.
        team: Who owns the cause.
        name: In English and in Chinese.
        fix: What removes it, likewise.
        subjects: By language, the ways to write the subject.
        wordings: By language, the ways to say it.
    """

    key: str
    topic: int
    usual: float
    failing: float
    team: str
    name: tuple[str, str]
    fix: tuple[str, str]
    subjects: tuple[tuple[str, ...], tuple[str, ...]]
    wordings: tuple[tuple[str, ...], tuple[str, ...]]


@cache
def read_problems() -> tuple[Problem, ...]:
    """Read the problems, in the order of their codes."""
    given = tomllib.loads(_FILE.read_text(encoding="utf-8"))["problem"]
    return tuple(
        Problem(
            key=p["key"],
            topic=TOPICS.index(p["topic"]),
            usual=p["usual"],
            failing=p["failing"],
            team=p["team"],
            name=tuple(p["name"]),
            fix=tuple(p["fix"]),
            subjects=(tuple(p["subjects_en"]), tuple(p["subjects_zh"])),
            wordings=(tuple(p["en"]), tuple(p["zh"])),
        )
        for p in given
    )


def find_code(key: str) -> int:
    """Return the code of a problem."""
    return next(n for n, p in enumerate(read_problems()) if p.key == key)


@cache
def arrange_shares(column: str) -> Floats:
    """Return the problems' shares of the tickets of each tag, (topics, problems); rows add up to 1.

    Args:
        column: `usual`, of ordinary tickets, or `failing`, of those that tell of a failure.
    """
    problems = read_problems()
    shares = np.zeros((len(TOPICS), len(problems)))
    for code, problem in enumerate(problems):
        shares[problem.topic, code] = getattr(problem, column)
    shares /= shares.sum(axis=1, keepdims=True)
    if column == "usual":
        shares = (1 - _MISTAGGED) * shares + _MISTAGGED * shares.mean(axis=0)
    return shares


@cache
def find_topics() -> Floats:
    """Return the main tag of each problem, an index in `TOPICS`, (problems,)."""
    return np.array([p.topic for p in read_problems()])
