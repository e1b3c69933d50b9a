"""Find the problems nearest to a text: by how much more often its words are in a problem's tickets than in others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import sqlalchemy as sa

from features.state.problem_tables import PROBLEM_TOKENS
from monitoring.problems.library import Fix, Problem, read_fixes, read_problems
from monitoring.problems.token_counts import ALL, SPACED, UNSPACED
from monitoring.problems.tokens import AskedToken, is_unspaced, tokenize, tokenize_query

# Jelinek-Mercer smoothing: the weight of all tickets beside that of a problem's own. Zhai and Lafferty, "A study of
# smoothing methods for language models applied to ad hoc information retrieval", SIGIR 2001, advise much for long
# queries, which a ticket's text is.
_SMOOTHING = 0.4
# How often a word of a problem's own name, cause and fixes counts as being in its tickets, at least.
_OWN = 0.25
# Tickets without any of the words that are counted beside those that there are: a library may be young.
_UNSEEN = 10
# A problem whose words fit the text less than this, in nats, is no match.
_LEAST = 0.7
# Beyond any character: the end of a range of tokens with one beginning.
_LAST = "\U0010ffff"


@dataclass(frozen=True)
class NearProblem:
    """A problem that a text is probably about.

    Args:
        problem: Which.
        fit: How much better its words fit the text than those of all tickets, in nats; above 0.
        fixes: Of the problem, the one that worked best first.
    """

    problem: Problem
    fit: float
    fixes: tuple[Fix, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        fixes = [fix.as_dict() for fix in self.fixes]
        return {"problem": self.problem.as_dict(), "fit": round(self.fit, 4), "fixes": fixes}


def find_nearest(
    connection: sa.Connection,
    text: str,
    *,
    most: int = 3,
    is_query: bool = False,
    hints: Mapping[str, float] | None = None,
) -> list[NearProblem]:
    """Find the problems nearest to a text, the best first, with what fixed them.

    Args:
        connection: To the state database.
        text: Of a new ticket, or what a person typed.
        most: At most so many.
        is_query: Whether a person typed it, so that its last word may be unfinished.
        hints: What else speaks for problems, in nats by id: vectors of texts, the ticket's topic.
    """
    asked = tokenize_query(text) if is_query else [AskedToken(token) for token in tokenize(text)]
    problems = {problem.id: problem for problem in read_problems(connection)}
    if not asked or not problems:
        return []
    fixes = read_fixes(connection, problems)
    own = {p: _list_own_words(problem, fixes[p]) for p, problem in problems.items()}
    fits = _measure_fits(connection, asked, own)
    for problem, hint in (hints or {}).items():
        if problem in problems:
            fits[problem] = fits.get(problem, 0.0) + hint
    ranked = sorted(
        ((fit, p) for p, fit in fits.items() if fit >= _LEAST and p in problems), key=lambda x: (-x[0], x[1])
    )
    return [NearProblem(problems[p], fit, tuple(fixes[p])) for fit, p in ranked[:most]]


def _list_own_words(problem: Problem, fixes: Sequence[Fix]) -> set[str]:
    texts = [*problem.names.values(), problem.cause or "", *(text for fix in fixes for text in fix.texts.values())]
    return set(tokenize(" ".join(texts)))


def _measure_fits(
    connection: sa.Connection, asked: Sequence[AskedToken], own: Mapping[str, set[str]]
) -> dict[str, float]:
    """Measure how well each problem fits the tokens: the sum of log likelihood ratios against all tickets."""
    counts = _read_counts(connection, asked)
    totals = _read_counts(connection, [AskedToken(SPACED), AskedToken(UNSPACED)])
    fits = defaultdict[str, float](float)
    for token in asked:
        script = UNSPACED if is_unspaced(token.text) else SPACED
        by_problem, all_of = counts.get(token.text, {}), totals.get(script, {})
        everywhere = (by_problem.get(ALL, 0) + 0.5) / (all_of.get(ALL, 0) + _UNSEEN)
        sharers = {p for p, words in own.items() if token.is_in(words)}
        for problem in sorted((set(by_problem) | sharers) - {ALL}):
            share = min(1.0, by_problem.get(problem, 0) / max(all_of.get(problem, 0), 1))
            share = max(share, _OWN) if problem in sharers else share
            fits[problem] += log(_SMOOTHING + (1 - _SMOOTHING) * share / min(everywhere, 1.0)) - log(_SMOOTHING)
    return fits


def _read_counts(connection: sa.Connection, asked: Sequence[AskedToken]) -> dict[str, dict[str, int]]:
    """Read in how many tickets of each problem, "" for all, each token is; a beginning sums all that begin so."""
    c = PROBLEM_TOKENS.c
    whole = [token.text for token in asked if not token.is_prefix]
    counts: dict[str, dict[str, int]] = {}
    query = sa.select(c.token, c.problem_id, c.tickets).where(c.token.in_(whole), c.tickets > 0)
    for token, problem, tickets in connection.execute(query):
        counts.setdefault(token, {})[problem] = tickets
    for token in (token for token in asked if token.is_prefix):
        inside = (c.token >= token.text) & (c.token < token.text + _LAST)
        summed = sa.select(c.problem_id, sa.func.sum(c.tickets)).where(inside, c.tickets > 0).group_by(c.problem_id)
        counts[token.text] = {problem: int(tickets) for problem, tickets in connection.execute(summed)}
    return counts
