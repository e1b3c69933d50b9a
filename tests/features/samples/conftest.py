from datetime import date

import numpy as np
import pandas as pd
import pytest

from features.samples import population, tickets, tidewater, truth, usage
from features.samples.history import simulate_lives
from features.samples.terms import TERMS, Terms

END = date(2026, 1, 1)


class Company:
    """A simulated chunk in memory: who the accounts are, what they left behind, and the truth."""

    def __init__(self, accounts, months, seed, *, short_of=0):
        self.span = tidewater._Span.ending(END, months)
        streams = tidewater._streams(seed, 0)
        first, until = self.span.first, self.span.until
        self.people = population.populate(
            streams["population"], numbers=range(accounts), first=first, days=until - first
        )
        self.until = until - short_of
        self.history = simulate_lives(self.people, streams, first=first, until=self.until, as_ofs=self.span.as_ofs)

    def truth(self):
        frames = []
        for month, moment in enumerate(self.history.moments):
            traits = self.people.traits.of(moment.account)
            frame = truth.build_table(moment, traits, self.history.outcomes, self.people.ids).drop_columns("as_of")
            frame = frame.to_pandas()
            frames.append(frame.assign(month=month, as_of=moment.as_of, account=moment.account))
        return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="session")
def company():
    return Company


@pytest.fixture(scope="session")
def silent():
    """As `company`, without usage and tickets: the chain does not depend on them, and is fast alone."""

    def make(*args):
        with pytest.MonkeyPatch.context() as patch:
            for module in (usage, tickets):
                patch.setattr(module, "emit", lambda *_: {"account": np.zeros(0, int)})
            return Company(*args)

    return make


@pytest.fixture(scope="session")
def contract():
    """The traits of one account whose first term started on a date."""

    def make(start, *, months, plan="team", indexed=False):
        month = (start.year - 1970) * 12 + start.month - 1
        terms = Terms(np.array([month]), np.array([start.day - 1]), np.array([months]), np.array([indexed]))
        assert months in TERMS
        return truth.Traits(terms, np.array([population.PLANS.index(plan)]))

    return make
