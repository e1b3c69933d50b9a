"""Read the head of a lifetime file: what the account is, its tier and why, who answers for it, contracts, family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.state.database import Store
from monitoring.binding.account_records import AccountRecord
from monitoring.binding.bindings import AccountBinding, BindingRules
from monitoring.lifetime.account_tables import AccountTables
from monitoring.lifetime.purchase_lines import Term, list_terms
from serving.tiers import course, tier_store

_DESCRIBING = ("industry", "size", "plan", "seats", "region")
_FAMILY = 50
_LONGEST = 10


@dataclass(frozen=True)
class Relative:
    """An account of the same family: its id, and its name where it has one."""

    account_id: str
    name: str | None


@dataclass(frozen=True)
class Contract:
    """A term: purchases with the same begin and end.

    Args:
        starts_at: µs; None where it is not recorded.
        ends_at: µs.
        products: Names, in order.
        amount: In the company's currency; that of the whole term.
        quantity: The largest of a purchase, such as seats; None where not recorded.
        state: `in force`, `coming` or `ended`, as of the newest scores.
    """

    starts_at: int | None
    ends_at: int
    products: tuple[str, ...]
    amount: float
    quantity: float | None
    state: str


@dataclass(frozen=True)
class AccountHead:
    """What an account is.

    Args:
        account_id: Of the account.
        name: None where its record has none.
        created_at: Since when it is an account (µs).
        about: Attributes that its record has, by name.
        as_of: Of the newest scores, or the clock's instant before there are any.
        value: Money a year, in the currency; None where not known.
        currency: Of all money.
        tier: A to E; None without one.
        tier_reason: Why, in a sentence; "" where there is no tier.
        state: `customer`, `left` (it was one), or `not asked` (the scores' cohort never had it).
        recommendation: act, sell or leave_alone; None outside the cohort.
        recommendation_reason: Why, in a sentence; "" without one.
        binding: Who answers for it.
        contracts: Terms, the newest first.
        parent: None without one.
        children: At most fifty.
        cost_to_serve: A year; None where not recorded.
    """

    account_id: str
    name: str | None
    created_at: int
    about: Mapping[str, Any]
    as_of: datetime
    value: float | None
    currency: str
    tier: str | None
    tier_reason: str
    state: str
    recommendation: str | None
    recommendation_reason: str
    binding: AccountBinding
    contracts: tuple[Contract, ...]
    parent: Relative | None
    children: tuple[Relative, ...]
    cost_to_serve: float | None

    @property
    def renewal(self) -> Contract | None:
        """Return the term in force that ends first; None without one."""
        return min((c for c in self.contracts if c.state == "in force"), key=lambda c: c.ends_at, default=None)

    @property
    def renewal_days(self) -> int | None:
        """Return the days until that end, as of the newest scores."""
        return None if self.renewal is None else (from_micros(self.renewal.ends_at) - self.as_of).days

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = {
            name: getattr(self, name) for name in ("account_id", "name", "value", "currency", "tier", "tier_reason")
        }
        plain |= {name: getattr(self, name) for name in ("state", "recommendation", "recommendation_reason")}
        binding = self.binding
        contracts = [
            asdict(c)
            | {
                "starts_at": None if c.starts_at is None else from_micros(c.starts_at).isoformat(),
                "ends_at": from_micros(c.ends_at).isoformat(),
            }
            for c in self.contracts
        ]
        return plain | {
            "created_at": from_micros(self.created_at).isoformat(),
            "as_of": self.as_of.isoformat(),
            "about": {name: str(value) for name, value in self.about.items()},
            "owner": binding.owner.address if binding.owner else None,
            "owner_fault": binding.fault,
            "teams": {cause: team.address for cause, team in binding.teams.items()},
            "sponsor": binding.sponsor.address if binding.sponsor else None,
            "contracts": contracts,
            "parent": self.parent and asdict(self.parent),
            "children": [asdict(child) for child in self.children],
            "cost_to_serve": self.cost_to_serve,
        }


def read_head(settings: Settings, store: Store, tables: AccountTables, *, now: datetime | None = None) -> AccountHead:
    """Read the head of an account.

    Args:
        settings: The company's.
        store: Its state database.
        tables: The account's rows.
        now: The instant; by default the clock's.
    """
    moment = now or datetime.now(UTC)
    scored, as_of = tables.run.scores.find(tables.account_id), tables.run.scores.as_of
    looked_from = as_of or moment
    tier = scored.get("tier")
    family = _read_family(tables)
    rules = BindingRules.load(settings, store, moment, accounts=family)
    binding = rules.bind(family, [tables.account_id], {tables.account_id: tier})
    record = tables.record
    parent_id = record.get("parent_id")
    parent = Relative(parent_id, family[parent_id].name) if parent_id in family else None
    contracts = _read_contracts(tables, looked_from)
    cost = record.get("cost_to_serve")
    return AccountHead(
        account_id=tables.account_id,
        name=record.get("name"),
        created_at=int(record["created_at"]),
        about={name: record[name] for name in _DESCRIBING if record.get(name) is not None},
        as_of=looked_from,
        value=scored.get("value"),
        currency=settings.company.currency,
        tier=tier,
        tier_reason=_explain_tier(settings, store, tables.account_id, scored, as_of),
        state=_find_state(scored, contracts, is_scored=as_of is not None),
        recommendation=scored.get("recommendation"),
        recommendation_reason=scored.get("why") or "",
        binding=binding[tables.account_id],
        contracts=contracts,
        parent=parent,
        children=_read_children(tables),
        cost_to_serve=None if cost is None else float(cost),
    )


def _explain_tier(
    settings: Settings, store: Store, account_id: str, scored: Mapping[str, Any], as_of: datetime | None
) -> str:
    if as_of is None or scored.get("tier") is None or not set(course.COLUMNS) <= set(scored):
        return ""
    cuts = tier_store.read_cuts(store, tier_store.name_quarter(as_of))
    override = tier_store.read_overrides(store, as_of).get(account_id)
    return course.explain_tier(scored, cuts, settings.tiers, override) if cuts else ""


def _find_state(scored: Mapping[str, Any], contracts: tuple[Contract, ...], *, is_scored: bool) -> str:
    if not is_scored:
        return "not scored"
    if not scored:
        return "left" if contracts and all(c.state == "ended" for c in contracts) else "not scored"
    if scored.get("in_cohort_churn") is False:
        return "left" if contracts else "not asked"
    return "customer"


def _read_family(tables: AccountTables) -> dict[str, AccountRecord]:
    """Read the records of an account and of its parents."""
    own = tables.record
    names = ("name", "owner_email", "owner_timezone", "parent_id")
    records = {tables.account_id: AccountRecord(*(own.get(name) for name in names))}
    if parents := tables.run.lookup.list_parents(tables.account_id, _LONGEST):
        sql = f"SELECT account_id, {', '.join(names)} FROM accounts WHERE account_no IN ({_list(parents)})"  # noqa: S608  # numbers
        for row in tables.query_company(sql):
            records[row["account_id"]] = AccountRecord(*(row[name] for name in names))
    return records


def _read_children(tables: AccountTables) -> tuple[Relative, ...]:
    children = tables.run.lookup.list_children(tables.account_id, _FAMILY)
    if not children:
        return ()
    sql = f"SELECT account_id, name FROM accounts WHERE account_no IN ({_list(children)}) ORDER BY account_id"  # noqa: S608  # numbers
    return tuple(Relative(**row) for row in tables.query_company(sql))


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _read_contracts(tables: AccountTables, as_of: datetime) -> tuple[Contract, ...]:
    at = to_micros(as_of)

    def name_state(term: Term) -> str:
        if term.ends_at < at:
            return "ended"
        return "coming" if term.starts_at is not None and term.starts_at >= at else "in force"

    return tuple(
        Contract(
            term.starts_at,
            term.ends_at,
            tuple(to_safe_line(product, 60) for product in term.products if product),
            term.amount,
            term.quantity,
            name_state(term),
        )
        for term in list_terms(tables.purchases)
    )
