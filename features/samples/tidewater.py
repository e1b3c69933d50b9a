"""Write tidewater, an openly synthetic software company: its four tables, and apart the truth about each account."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.core.errors import GarrisonError
from features.core.progress import Progress
from features.core.timestamps import DAY
from features.samples import contacts, owners, parts, population, purchases, tickets, truth, usage
from features.samples.contacts import Care, PlannedContact
from features.samples.history import SimulatedHistory, simulate_lives
from features.samples.population import Population
from features.samples.service import truth_summary
from features.samples.service.organisation import run_organisation
from features.samples.terms import find_month_start

TABLES = ("accounts", "tickets", "usage", "purchases")
# Of its service organisation, and the hidden truth about that.
SERVICE_TABLES = ("people", "staff", "contracts", "promises", "surveys")
SERVICE_TRUTH = ("truth_tickets", "truth_payroll", "truth_problems", "truth_actions")
CHUNK = 20_000  # accounts simulated, and held in memory, at a time
_VERSION = 4  # of what is simulated: a sample of another version is written anew
_FEWEST, _MOST = 100, 1_000_000
_STREAMS = (
    *("population", "accounts", "chain", "usage", "tickets", "owners", "care"),
    *("service_accounts", "service_tickets", "service_relations"),
)
# What is written besides where owners act.
CARE_TABLES = ("touches", "truth_owners", "truth_contacts", "truth_planned")
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
    until: date | None = None,
    owners_differ: int | None = None,
    planned: Sequence[PlannedContact] = (),
    progress: Progress | None = None,
) -> TidewaterSummary:
    """Write `months` of history that end before `end`, as Parquet parts in a folder a table.

    `out/accounts`, `out/tickets`, `out/usage` and `out/purchases` follow the data contract; `out/truth` says
    for each account in force at each month's start what the future truly held. The same parameters always
    give the same sample, and where `out` has it already nothing is done.

    Where owners act, `out/touches` has their contacts, `out/truth_contacts` what each did, `out/truth_planned` those
    that letters led to, and `out/truth_owners` how able each owner is. The truth is then that of an account that nobody
    contacts from that day on.

    Args:
        out: Folder to make or, where an earlier sample is in it, to replace.
        accounts: 100 to 1,000,000.
        months: Calendar months of history, 3 to 120.
        seed: Any whole number from 0.
        end: First day without data.
        until: The day that the company has lived to, at most `end`; a later one continues the same life.
        owners_differ: So many owners, whose skill truly changes retention and who were given books of unlike risk.
        planned: Contacts that owners make because they were alerted.
        progress: Called with accounts done and accounts in all.

    Raises:
        GarrisonError: A parameter is out of bounds, or `out` holds something else.
    """
    _check(accounts, months, seed)
    out = Path(out)
    parameters = {"sample": "tidewater", "version": _VERSION, "accounts": accounts, "months": months}
    parameters |= {"seed": seed, "end": end.isoformat()}
    is_cared_for = until is not None or owners_differ is not None or bool(planned)
    if is_cared_for:
        parameters |= _describe_care(accounts, until or end, owners_differ, planned)
    if finished := parts.read_finished(out, parameters):
        return TidewaterSummary(**finished)
    span = _Span.ending(end, months).stopping(until or end)
    company = _Company(span, seed, is_cared_for, owners_differ and owners_differ / accounts, planned)
    with parts.write_folder(out) as folder:
        made = (*TABLES, *SERVICE_TABLES, "truth", "truth_tickets", "truth_payroll")
        for name in (*made, *(CARE_TABLES if is_cared_for else ())):
            (folder / name).mkdir()
        for chunk, start in enumerate(range(0, accounts, CHUNK)):
            numbers = range(start, min(start + CHUNK, accounts))
            company.write_chunk(folder, chunk, numbers)
            if progress:
                progress("accounts", numbers.stop, accounts)
        truth_summary.summarise_truth(folder)
        if is_cared_for:
            pq.write_table(contacts.build_planned(planned), folder / "truth_planned" / "part-00000.parquet")
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
    span = replace(whole, as_ofs=tuple(_number(day) for day in as_ofs))
    tables = []
    company = _Company(span, seed)
    for chunk, start in enumerate(range(0, accounts, CHUNK)):
        life = company.simulate_chunk(range(start, min(start + CHUNK, accounts)), _streams(seed, chunk))
        tables.append(_truth(life.people, life.history))
    return pa.concat_tables(tables)


@dataclass(frozen=True)
class _Span:
    """Days since 1970 of the history, `[first, until)`, and of the month starts looked at for truth.

    `days` is how long the whole life lasts, of which `until` may see a part: accounts join all along.
    """

    first: int
    until: int
    as_ofs: tuple[int, ...]
    days: int

    @classmethod
    def ending(cls, end: date, months: int) -> _Span:
        last = np.datetime64(end, "D")
        month = int(last.astype("M8[M]").astype(np.int64))
        until = int(last.astype(np.int64))
        first = find_month_start(month - months) + until - find_month_start(month)
        starts = (find_month_start(m) for m in range(month - months + 2, month + 1))
        return cls(first, until, tuple(starts), until - first)

    def stopping(self, day: date) -> _Span:
        """Return the span up to a day.

        Raises:
            GarrisonError: The day is not within it.
        """
        until = _number(day)
        if not self.first + 60 < until <= self.until:
            raise GarrisonError(
                "the company can't have lived until then", found=f"{day}", hint="Name a day of its months of history"
            )
        return replace(self, until=until, as_ofs=tuple(a for a in self.as_ofs if a <= until))


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


@dataclass(frozen=True)
class _Life:
    """The accounts of a chunk, their owners, and what they lived through."""

    people: Population
    history: SimulatedHistory
    owners: owners.Owners | None = None
    care: Care | None = None


@dataclass(frozen=True)
class _Company:
    """How every chunk is made: `owned` is the number of owners an account where they differ."""

    span: _Span
    seed: int
    is_cared_for: bool = False
    owned: float | None = None
    planned: Sequence[PlannedContact] = ()

    def simulate_chunk(self, numbers: range, streams: dict[str, np.random.Generator]) -> _Life:
        """Simulate the accounts with these numbers."""
        span = self.span
        people = population.populate(streams["population"], numbers=numbers, first=span.first, days=span.days)
        team, care = None, None
        if self.is_cared_for:
            count = int(people.owner.max()) + 1 if self.owned is None else max(2, round(self.owned * len(numbers)))
            team = owners.draw_owners(streams["owners"], count, differ=self.owned is not None)
            if self.owned is not None:
                people = replace(people, owner=owners.give_books(streams["owners"], people, team))
            care = Care.draw(streams["care"], people, team, self.planned)
        history = simulate_lives(people, streams, first=span.first, until=span.until, as_ofs=span.as_ofs, care=care)
        return _Life(people, history, team, care)

    def write_chunk(self, folder: Path, chunk: int, numbers: range) -> None:
        """Simulate the accounts with these numbers and write their part of each table."""
        streams = _streams(self.seed, chunk)
        life = self.simulate_chunk(numbers, streams)
        people, history, part = life.people, life.history, f"part-{chunk:05d}.parquet"
        ids, until = people.ids, self.span.until
        company = population.build_table(people, chunk, streams["accounts"])
        served = run_organisation(streams, people, history, company["region"], chunk=chunk, until=until)
        tables = {"truth": _truth(people, history), **served.tables, **served.truth}
        company = company.append_column("partner_id", served.partner)
        tables["accounts"] = company.filter(pa.array(people.created < until * DAY)) if self.is_cared_for else company
        if life.owners is not None and life.care is not None:
            made = life.care.list_made()
            tables["truth_owners"] = owners.build_table(life.owners, people, chunk)
            tables["touches"] = contacts.build_touches(made, ids)
            tables["truth_contacts"] = contacts.build_truth(made, ids)
        for name, table in tables.items():
            pq.write_table(table, folder / name / part, compression="zstd")
        parts.write_part(history.usage, folder / "usage" / part, lambda rows: usage.build_table(rows, ids))
        opened = tickets.build_table(history.tickets, ids, chunk=chunk, until=until)
        for name, column in served.tickets.items():
            opened = opened.append_column(name, column)
        pq.write_table(opened, folder / "tickets" / part, compression="zstd")
        parts.write_part(
            history.purchases, folder / "purchases" / part, lambda rows: purchases.build_table(rows, ids, chunk=chunk)
        )


def _describe_care(
    accounts: int, until: date, owners_differ: int | None, planned: Iterable[PlannedContact]
) -> dict[str, object]:
    """Return what tells samples apart whose owners act.

    Raises:
        GarrisonError: There are too few owners, or too many for the accounts.
    """
    if owners_differ is not None and not 2 <= owners_differ <= accounts // 20:
        raise GarrisonError(
            "a tidewater sample can't have so many owners who differ",
            found=str(owners_differ),
            hint=f"Choose 2 to {accounts // 20:,}: each needs 20 accounts",
        )
    digest = hashlib.sha256(repr(list(planned)).encode()).hexdigest()
    return {"until": until.isoformat(), "owners_differ": owners_differ, "planned": digest}


def _number(day: date) -> int:
    return int(np.datetime64(day, "D").astype(np.int64))


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
