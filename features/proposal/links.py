"""How the rows of a table find their account: by its key, by another id, through a table between, or by address."""

from __future__ import annotations

from dataclasses import dataclass, field

from features.proposal.column_kinds import ColumnSample
from features.proposal.model import Match, ProposedColumn, ProposedTable
from features.proposal.vocabulary import ACCOUNTS, PUBLIC_DOMAINS, squash
from features.proposal.workspace import RawRows, Workspace
from features.sources.mapping import quote_identifier, quote_literal

_ENOUGH = 0.5  # share of rows that must find an account
_CLEAR = 0.03  # a detour must find so much more than a straight way
_OWN = frozenset({"id", "key", "uuid", "no", "nr", "number", "ticketid", "caseid", "eventid", "messageid"})
_FEW = 3  # distinct values below which a match says nothing
_DOMAIN = r"regexp_replace(regexp_replace(lower(trim({})), '^(https?://)?(www\.)?', ''), '[/:?].*$', '')"


@dataclass(frozen=True)
class Bridge:
    """A way from ids of another kind to accounts.

    Args:
        system: Its name.
        rows: SQL after FROM.
        external: SQL of the id.
        account: SQL of the account's id.
        match: exact or email_domain.
        described: In words.
    """

    system: str
    rows: str
    external: str
    account: str
    match: str = "exact"
    described: str = ""

    @property
    def query(self) -> str:
        """Return SQL of its identities."""
        return (
            f"SELECT DISTINCT {quote_literal(self.system)} AS system, {self.external} AS external_id, "
            f"{self.account} AS account_id FROM {self.rows} "
            f"WHERE {self.external} IS NOT NULL AND {self.account} IS NOT NULL"
        )


@dataclass
class AccountKey:
    """The accounts that rows are looked up in, and the bridges that lead to them.

    Args:
        workspace: The raw tables.
        rows: SQL after FROM of the accounts.
        column: Their id.
        others: Names of the sources that a table between may be.
    """

    workspace: Workspace
    rows: str
    column: str
    others: tuple[str, ...] = ()
    used: dict[str, Bridge] = field(default_factory=dict)
    _bridges: list[Bridge] | None = None

    @property
    def key(self) -> str:
        """Return SQL of the account's id."""
        return quote_identifier(self.column)

    def find(self, rows: str, columns: list[str]) -> tuple[str, Match, Bridge | None] | None:
        """Return the column of some rows that names the account, how well, and the bridge where it needs one."""
        described = self.workspace.read(rows)
        best: tuple[float, str, str, Bridge | None] | None = None
        for column in columns:
            sample = described.column(column)
            if not _may_name(sample):
                continue
            straight = self.workspace.match(rows, quote_identifier(column), self.rows, self.key)
            if straight >= _ENOUGH and (best is None or straight > best[0] + _CLEAR * (best[3] is None)):
                best = (straight, column, f"accounts.{self.column}", None)
        if best is None or best[0] < 1 - _CLEAR:
            for bridge in self.bridges:
                for column in columns:
                    rate = self._match_bridge(rows, described.column(column), bridge)
                    if rate >= _ENOUGH and (best is None or rate > best[0] + _CLEAR):
                        best = (rate, column, bridge.described, bridge)
        return best and (best[1], Match("", best[1], best[2], best[0]), best[3])

    def _match_bridge(self, rows: str, sample: ColumnSample, bridge: Bridge) -> float:
        """Return the share of rows whose value leads to an account over a bridge."""
        if not _may_name(sample) or (bridge.match != "exact" and sample.holds != "email"):
            return 0.0
        value = quote_identifier(sample.name)
        value = f"lower({value})" if sample.holds == "email" else value
        if bridge.match == "email_domain":
            value = f"split_part({value}, '@', -1)"
        return self.workspace.match(rows, value, bridge.rows, bridge.external)

    @property
    def bridges(self) -> list[Bridge]:
        """Return the ways from other ids to accounts, found once."""
        if self._bridges is None:
            self._bridges = [*self._own_ids(), *self._tables_between()]
        return self._bridges

    def _own_ids(self) -> list[Bridge]:
        """Return bridges over further ids and over the web address of the accounts themselves."""
        accounts, found = self.workspace.read(self.rows), []
        for name, sample in accounts.columns.items():
            if name == self.column or sample.holds not in {"text", "number", "email"}:
                continue
            quoted, plain = quote_identifier(name), squash(name)
            if plain in {"domain", "website", "url", "web", "emaildomain", "companydomain", "homepage"}:
                domain = _DOMAIN.format(quoted)
                listed = ", ".join(quote_literal(d) for d in PUBLIC_DOMAINS)
                rows = f"(SELECT * FROM {self.rows} WHERE {domain} NOT IN ({listed}))"
                found.append(Bridge("domain", rows, domain, self.key, "email_domain", f"accounts.{name}, by domain"))
            elif sample.holds == "email" and accounts.is_unique(name, 0.9):
                found.append(Bridge(plain, self.rows, f"lower({quoted})", self.key, described=f"accounts.{name}"))
            elif sample.distinct >= _FEW and accounts.is_unique(name):
                found.append(Bridge(plain, self.rows, quoted, self.key, described=f"accounts.{name}"))
        return found

    def _tables_between(self) -> list[Bridge]:
        """Return bridges over tables with a key of their own and a reference to an account, such as contacts."""
        found = []
        for name in self.others:
            rows = self.workspace.source(name)
            references = rank_account_columns(rows)
            account = next((c for c in references if self._refers(rows, c)), None)
            if account is None:
                continue
            for column, sample in rows.columns.items():
                plain = squash(column)
                if column == account or not (sample.holds == "email" or plain.endswith(("id", "key", "no", "number"))):
                    continue
                if not _may_name(sample) or not rows.is_unique(column, 0.9):
                    continue
                quoted = quote_identifier(column)
                external = f"lower({quoted})" if sample.holds == "email" else quoted
                system = f"{name}_{plain}"
                found.append(
                    Bridge(system, rows.sql, external, quote_identifier(account), described=f"{name}.{column}")
                )
        return found

    def _refers(self, rows: RawRows, column: str) -> bool:
        sample = rows.column(column)
        if not _may_name(sample) or sample.holds == "email":
            return False
        return self.workspace.match(rows.sql, quote_identifier(column), self.rows, self.key) >= _ENOUGH

    def use(self, table: ProposedTable, rows: str, columns: list[str]) -> Match | None:
        """Give a table the column of its account, and note the bridge that it needs; None if no column finds any."""
        found = self.find(rows, columns)
        if found is None:
            return None
        column, match, bridge = found
        sample = self.workspace.read(rows).column(column)
        origin: dict[str, str] = {"column": column}
        if bridge:
            self.used[bridge.system] = bridge
            table.keys["system"] = bridge.system
            if bridge.match == "email_domain":
                table.keys["match"] = "email_domain"
            elif sample.holds == "email":
                origin = {"sql": f"lower(trim({quote_identifier(column)}))"}
        why = f"{match.rate:.1%} of the rows find their account in {match.to}"
        confirm = "" if match.rate >= 0.9 else f"only {why}"  # a round figure
        table.columns["account_id"] = ProposedColumn(origin, why, confirm)
        return Match(table.name, column, match.to, match.rate)

    def propose_identities(self) -> ProposedTable | None:
        """Return the table of identities that the used bridges need; None where they need none."""
        if not self.used:
            return None
        query = "\nUNION ALL BY NAME\n".join(bridge.query for bridge in self.used.values())
        names = ("system", "external_id", "account_id")
        columns = {name: ProposedColumn({"column": name}) for name in names}
        notes = [f"{b.system}: {b.described} to accounts" for b in self.used.values()]
        return ProposedTable("identities", query=query, columns=columns, notes=notes)


def _may_name(sample: ColumnSample) -> bool:
    """Return whether a column's values may be ids."""
    if sample.holds not in {"text", "number", "email"} or sample.distinct < min(_FEW, sum(sample.values.values())):
        return False
    return not any(len(v) > 120 for v in list(sample.values)[:50])  # prose


def rank_account_columns(rows: RawRows, *, surely: bool = False) -> list[str]:
    """Return the columns of rows that may name an account, the likeliest by its name first.

    Args:
        rows: The rows.
        surely: Without columns that are ids, but of what nobody knows.
    """

    def rank(name: str) -> int:
        plain = squash(name)
        if plain in ACCOUNTS:
            return ACCOUNTS.index(plain)
        for place, word in enumerate(ACCOUNTS):
            if plain.endswith(word) and len(word) > 4:  # "user" ends too much
                return place + len(ACCOUNTS)
        return 10**6 if not plain.endswith(("id", "no", "nr", "key", "ref")) else 10**5

    ranked = sorted(rows.types, key=rank)
    # A row's own id is no account's, though small numbers may be among those of accounts.
    return [c for c in ranked if rank(c) < (10**5 if surely else 10**6) and squash(c) not in _OWN]
