"""Draw the static traits of synthetic accounts: who they are, how much they use, when their first term started."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.core.timestamps import DAY
from features.samples import causes
from features.samples.causes import PLANS, Codes, Floats, State
from features.samples.parts import pad_numbers
from features.samples.terms import TERMS, Flags, Ints, Terms, split_days
from features.samples.truth import Traits

SIZES = ("small", "medium", "large")
_SIZE_SHARE = (0.6, 0.3, 0.1)
_PLAN_SHARE = np.array([[0.55, 0.4, 0.05], [0.2, 0.6, 0.2], [0.05, 0.4, 0.55]])  # by size
_SEATS = np.array([9.0, 32.0, 120.0])  # median by size
_ROWS = np.array([0.78, 1.10, 1.5])  # median usage rows a day by size, when steady
_TICKETS = np.array([0.034, 0.046, 0.068])  # median tickets a day by size, when steady
_TERM_SHARE = (0.55, 0.15, 0.30)
_EXISTING = 0.5  # share of accounts with a term running when the history starts
_PAST_DAYS = 1200  # longest time such an account has been a customer
_OWNED = 40  # accounts an owner holds, about

_REGIONS = ("europe", "americas", "asia-pacific")
_ZONES = (
    ("Europe/London", "Europe/Berlin"),
    ("America/New_York", "America/Los_Angeles"),
    ("Asia/Singapore", "Australia/Sydney"),
)
_INDUSTRIES = ("logistics", "retail", "manufacturing", "finance", "health", "education", "media", "energy")
_FIRST = ("Harbour", "Anchor", "Beacon", "Cinder", "Delta", "Elm", "Fjord", "Granite", "Heron", "Juniper")
_SECOND = ("Works", "Supply", "Freight", "Foods", "Labs", "Partners", "Media", "Clinics", "Textiles", "Power")


@dataclass(frozen=True)
class Population:
    """The n accounts of one chunk, one array element each.

    Args:
        ids: Account ids.
        created: Microseconds since 1970.
        start: Day since 1970 on which the first term starts.
        traits: Terms and plan, all the chain knows of an account.
        prepaid: Whether a term is billed at once, not monthly.
        state: The hidden state on the first day of the history, or of the account where that is later.
        size: Index in `SIZES`.
        seats: Bought with the first term.
        discount: Share off the list price.
        addons: Which products beside the platform it has, shape (n, 2).
        rows: Usage rows a day when steady.
        depth: Uses counted in one row when steady.
        users: People who may use the product.
        taste: Leaning towards each product feature, shape (n, features).
        noise: Spread of a day's use around what the state implies.
        rhythm: Index of its week in `usage.WEEK`.
        tickets: Tickets a day when steady.
        owner: Number of its owner in the chunk.
    """

    ids: pa.Array
    created: Ints
    start: Ints
    traits: Traits
    prepaid: Flags
    state: Codes
    size: Ints
    seats: Ints
    discount: Floats
    addons: Flags
    rows: Floats
    depth: Floats
    users: Ints
    taste: Floats
    noise: Floats
    rhythm: Ints
    tickets: Floats
    owner: Ints


@dataclass(frozen=True)
class Today:
    """The accounts in force on a day since 1970, for all that people do on it.

    Args:
        day: Days since 1970.
        who: Numbers in the chunk.
        state: Their hidden states on this day.
        failed: 1 where the service failed the account this day, which made it aggrieved; else 0.
        before: The state that each would be in without its present trouble: before it became aggrieved or pinched.
        since: The day on which that trouble began; -1 without one.
    """

    day: int
    who: Ints
    state: Codes
    failed: Ints
    before: Codes
    since: Ints

    @property
    def weekday(self) -> int:
        """Return the day of the week, 0 for Monday."""
        return (self.day + 3) % 7  # day 0 was a Thursday


def populate(rng: np.random.Generator, *, numbers: range, first: int, days: int) -> Population:
    """Draw the accounts with these numbers, for a history of `days` days from day `first` since 1970."""
    n = len(numbers)
    size = rng.choice(len(SIZES), n, p=_SIZE_SHARE)
    plan = draw_columns(rng, _PLAN_SHARE[size])
    existing = rng.random(n) < _EXISTING
    past = np.ceil(rng.random(n) * _PAST_DAYS).astype(np.int64)
    start = first + np.where(existing, -past, rng.integers(0, days, n))
    month, dom = split_days(start)
    length = rng.choice(np.array(TERMS, dtype=np.int64), n, p=_TERM_SHARE)
    seats = np.maximum(2, _spread(rng, _SEATS[size], 0.5).astype(np.int64))
    return Population(
        ids=pc.binary_join_element_wise("T", pad_numbers(np.array(numbers), 7), ""),
        created=start * DAY - rng.integers(1, 15 * DAY, n),
        start=start,
        traits=Traits(Terms(month, dom, length, rng.random(n) < 0.6), plan),
        prepaid=(length == 12) & (rng.random(n) < 0.2),
        state=_first_state(rng, np.where(existing, past, 0)),
        size=size,
        seats=seats,
        discount=np.where(rng.random(n) < 0.5, rng.integers(1, 5, n) * 0.05, 0.0),
        addons=rng.random((n, 2)) < (0.45, 0.4),
        rows=_spread(rng, _ROWS[size], 0.3),
        depth=_spread(rng, np.full(n, 12.0), 0.2),
        users=np.clip(_spread(rng, seats * 0.6, 0.15).astype(np.int64), 2, 60),
        taste=_spread(rng, np.ones((n, 6)), 0.15),
        noise=rng.uniform(0.15, 0.5, n),
        rhythm=rng.choice(3, n, p=(0.7, 0.15, 0.15)),
        tickets=_spread(rng, _TICKETS[size], 0.35),
        owner=_owners(rng, n),
    )


def build_table(people: Population, chunk: int, rng: np.random.Generator) -> pa.Table:
    """Build the chunk's rows of `accounts`, in the form of the data contract."""
    owners = int(people.owner.max()) + 1
    region, city = rng.integers(0, 3, owners)[people.owner], rng.integers(0, 2, owners)[people.owner]
    n = len(people.start)
    numbers = pc.utf8_slice_codeunits(people.ids, 1)
    words = [pa.array(w).take(pa.array(rng.integers(0, len(w), n))) for w in (_FIRST, _SECOND)]
    return pa.table(
        {
            "account_id": people.ids,
            "created_at": pa.array(people.created, pa.timestamp("us", "UTC")),
            "name": pc.binary_join_element_wise(*words, pc.utf8_ltrim(numbers, "0"), " "),
            "owner_email": name_owners(people.owner, chunk),
            "owner_timezone": pa.array([z for zones in _ZONES for z in zones]).take(pa.array(region * 2 + city)),
            "region": pa.array(_REGIONS).take(pa.array(region)),
            "industry": pa.array(_INDUSTRIES).take(pa.array(rng.integers(0, len(_INDUSTRIES), n))),
            "size": pa.array(SIZES).take(pa.array(people.size)),
            "plan": pa.array(PLANS).take(pa.array(people.traits.plan)),
            "seats": people.seats,
        }
    )


def name_owners(numbers: Ints, chunk: int) -> pa.Array:
    """Return the addresses of the owners with these numbers in a chunk."""
    return pc.binary_join_element_wise(f"owner-{chunk:02d}-", pad_numbers(numbers, 4), "@tidewater.example", "")


def draw_columns(rng: np.random.Generator, weights: Floats) -> Ints:
    """Draw one column index for each row of weights, in proportion to them."""
    reach = weights.cumsum(axis=1)
    return (rng.random((len(weights), 1)) * reach[:, -1:] >= reach[:, :-1]).sum(axis=1).astype(np.int64)


def _first_state(rng: np.random.Generator, past: Ints) -> Codes:
    """Draw first states: settling or misfit for young accounts, else one by the settled shares."""
    new = np.where(rng.random(len(past)) < causes.MISFITS, State.MISFIT, State.SETTLING)
    settled = rng.choice(len(State), len(past), p=causes.SETTLED / causes.SETTLED.sum())
    return np.where(past < 60, new, settled).astype(np.int8)


def _owners(rng: np.random.Generator, n: int) -> Ints:
    """Split the accounts, in order, among owners who hold some `_OWNED` each."""
    weights = rng.uniform(0.8, 1.2, max(1, round(n / _OWNED)))
    edges = weights.cumsum() / weights.sum() * n
    return np.searchsorted(edges[:-1], np.arange(n), side="right").astype(np.int64)


def _spread(rng: np.random.Generator, median: Floats, sigma: float) -> Floats:
    return median * rng.lognormal(0.0, sigma, median.shape)
