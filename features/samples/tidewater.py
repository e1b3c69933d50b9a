"""Write tidewater, an openly synthetic software company: its four tables, and apart the truth about each account."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.core.errors import GarrisonError
from features.core.progress import Progress
from features.samples import parts, population, purchases, tickets, truth, usage
from features.samples.history import SimulatedHistory, simulate_lives
from features.samples.population import Population
from features.samples.terms import find_month_start

TABLES = ("accounts", "tickets", "usage", "purchases")
CHUNK = 20_000  # accounts simulated, and held in memory, at a time
_VERSION = 3  # of what is simulated: a sample of another version is written anew
_FEWEST, _MOST = 100, 1_000_000
_STREAMS = ("population", "accounts", "chain", "usage", "tickets")
_RATES = {"churn_90d": "churned_90d", "upsell_90d": "expanded_90d"}


@dataclass(frozen=True)
class TidewaterSummary:
    """Rows written, and base rates over the accounts in force at every `as_of` whose horizon the data cover.

    The rates are None where the data cover no horizon.
    """

    accounts: int
    tickets: int
    usage: int
    purchases: int
    truth: int
    churn_90d: float | None
    upsell_90d: float | None


def write_sample(  # noqa: PLR0913  a sample has as many options as it has
    out: Path,
    *,
    accounts: int = 3000,
    months: int = 24,
    seed: int = 7,
    end: date = date(2026, 1, 1),
    progress: Progress | None = None,
) -> TidewaterSummary:
    """Write `months` of history that end before `end`, as Parquet parts in a folder a table.

    `out/accounts`, `out/tickets`, `out/usage` and `out/purchases` follow the data contract; `out/truth` says
    for each account in force at each month's start what the future truly held. The same parameters always
    give the same sample, and where `out` has it already nothing is done.

    Args:
        out: Folder to make or, where an earlier sample is in it, to replace.
        accounts: 100 to 1,000,000.
        months: Calendar months of history, 3 to 120.
        seed: Any whole number from 0.
        end: First day without data.
        progress: Called with accounts done and accounts in all.

    Raises:
        GarrisonError: A parameter is out of bounds, or `out` holds something else.
    """
    _check(accounts, months, seed)
    out = Path(out)
    parameters = {"sample": "tidewater", "version": _VERSION, "accounts": accounts, "months": months}
    parameters |= {"seed": seed, "end": end.isoformat()}
    if finished := parts.read_finished(out, parameters):
        return TidewaterSummary(**finished)
    span = _Span.ending(end, months)
    with parts.write_folder(out) as folder:
        for name in (*TABLES, "truth"):
            (folder / name).mkdir()
        for chunk, start in enumerate(range(0, accounts, CHUNK)):
            numbers = range(start, min(start + CHUNK, accounts))
            _write_chunk(folder, chunk, numbers, span, seed)
            if progress:
                progress("accounts", numbers.stop, accounts)
        summary = _summary(folder)
        parts.record_summary(folder, parameters, asdict(summary))
    return summary


def simulate_truth(
    as_ofs: Collection[date],
    *,
    accounts: int = 3000,
    months: int = 24,
    seed: int = 7,
    end: date = date(2026, 1, 1),
) -> pa.Table:
    """Return the truth at any days of the sample that these parameters give, as `out/truth` holds it at month starts.

    Raises:
        GarrisonError: A parameter is out of bounds.
    """
    _check(accounts, months, seed)
    whole = _Span.ending(end, months)
    span = _Span(whole.first, whole.until, tuple(int(np.datetime64(day, "D").astype(np.int64)) for day in as_ofs))
    tables = []
    for chunk, start in enumerate(range(0, accounts, CHUNK)):
        people, history = _simulate_chunk(range(start, min(start + CHUNK, accounts)), span, _streams(seed, chunk))
        tables.append(_truth(people, history))
    return pa.concat_tables(tables)


@dataclass(frozen=True)
class _Span:
    """Days since 1970 of the history, `[first, until)`, and of the month starts looked at for truth."""

    first: int
    until: int
    as_ofs: tuple[int, ...]

    @classmethod
    def ending(cls, end: date, months: int) -> _Span:
        last = np.datetime64(end, "D")
        month = int(last.astype("M8[M]").astype(np.int64))
        until = int(last.astype(np.int64))
        first = find_month_start(month - months) + until - find_month_start(month)
        starts = (find_month_start(m) for m in range(month - months + 2, month + 1))
        return cls(first, until, tuple(starts))


def _check(accounts: int, months: int, seed: int) -> None:
    for name, value, least, most in (
        ("accounts", accounts, _FEWEST, _MOST),
        ("months", months, 3, 120),
        ("seed", seed, 0, 2**63),
    ):
        if not least <= value <= most:
            raise GarrisonError(
                f"a tidewater sample can't have these {name}",
                found=str(value),
                hint=f"Choose {least:,} to {most:,}",
            )


def _streams(seed: int, chunk: int) -> dict[str, np.random.Generator]:
    """Create the independent random streams of a chunk, one for each purpose."""
    return {
        name: np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(chunk, purpose))))
        for purpose, name in enumerate(_STREAMS)
    }


def _write_chunk(folder: Path, chunk: int, numbers: range, span: _Span, seed: int) -> None:
    streams = _streams(seed, chunk)
    people, history = _simulate_chunk(numbers, span, streams)
    part = f"part-{chunk:05d}.parquet"
    ids, until = people.ids, span.until
    company = population.build_table(people, chunk, streams["accounts"])
    pq.write_table(company, folder / "accounts" / part, compression="zstd")
    pq.write_table(_truth(people, history), folder / "truth" / part, compression="zstd")
    parts.write_part(history.usage, folder / "usage" / part, lambda rows: usage.build_table(rows, ids))
    parts.write_part(
        history.tickets,
        folder / "tickets" / part,
        lambda rows: tickets.build_table(rows, ids, chunk=chunk, until=until),
    )
    parts.write_part(
        history.purchases, folder / "purchases" / part, lambda rows: purchases.build_table(rows, ids, chunk=chunk)
    )


def _simulate_chunk(
    numbers: range, span: _Span, streams: dict[str, np.random.Generator]
) -> tuple[Population, SimulatedHistory]:
    days = span.until - span.first
    people = population.populate(streams["population"], numbers=numbers, first=span.first, days=days)
    return people, simulate_lives(people, streams, first=span.first, until=span.until, as_ofs=span.as_ofs)


def _truth(people: Population, history: SimulatedHistory) -> pa.Table:
    return pa.concat_tables(
        truth.build_table(moment, people.traits.of(moment.account), history.outcomes, people.ids)
        for moment in history.moments
    )


def _summary(folder: Path) -> TidewaterSummary:
    """Summarise the sample: counts from the parts' footers, rates from the truth."""
    rows = {
        name: sum(pq.read_metadata(part).num_rows for part in (folder / name).iterdir()) for name in (*TABLES, "truth")
    }
    known = pq.read_table(folder / "truth", columns=["churned_90d", "expanded_90d"])
    rates = {name: pc.mean(known[column]).as_py() for name, column in _RATES.items()}
    return TidewaterSummary(**rows, **rates)
