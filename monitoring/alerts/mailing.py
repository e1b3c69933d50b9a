"""Make the messages of a run: letters and digests to owners, digests to teams, packets to sponsors; few to each."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from features.catalog import Catalog
from features.core.language import ENGLISH, Language, Phrase, say
from features.core.timestamps import to_micros
from features.settings import Settings
from features.settings.binding import Sponsor
from features.state.message_states import PENDING, UNDELIVERABLE
from monitoring.alerts.spoken import Spoken
from monitoring.binding.bindings import AccountBinding, Recipient
from monitoring.binding.reader_language import find_language
from monitoring.letters.account_risk import AccountRisk, Text
from monitoring.letters.digest import About, Digest
from monitoring.letters.driver_words import translate_drivers
from monitoring.letters.links import LinkSigner
from monitoring.letters.message import write_page
from monitoring.letters.packet import ReviewPacket
from monitoring.letters.statements import describe_kind

LETTER, DIGEST, TEAM, PACKET = "letter", "digest", "team", "packet"
_SPACE = uuid.UUID("5f2e9a1c-30a7-5d0b-8c43-7e5f4b1d9a60")
# Kinds of episode that teams and sponsors hear of: those in which an account may be lost.
SHARED_KINDS = frozenset({"churn", "silent_decline", "service_failure", "renewal_near"})


@dataclass(frozen=True)
class Notice:
    """An episode that speaks in this run.

    Args:
        kind: Of the message: opened, worsened, handed_over.
        risk: What is told.
        expected: Expected loss that acting avoids, or gain; money.
        cause: What the play works against; None without a play.
        binding: Who answers for the account.
        course: Earlier scores, oldest first.
        promised: What was promised to the account, in sentences.
    """

    kind: str
    risk: AccountRisk
    expected: float
    cause: str | None
    binding: AccountBinding
    course: Sequence[tuple[datetime, float]] = ()
    promised: Sequence[Text] = ()


@dataclass(frozen=True)
class Mailing:
    """The messages of a run.

    Args:
        rows: For the outbox.
        forms: By episode: how its owner hears of it (letter, digest), or why not.
        messages: By episode: the id of the message that tells its owner.
    """

    rows: Sequence[dict[str, Any]] = ()
    forms: Mapping[str, str] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)


_BLANK: Mapping[str, str] = {"subject": "", "body": "", "html": ""}


@dataclass(frozen=True)
class MailingRules:
    """Makes messages by the settings.

    Args:
        settings: The company's.
        as_of: Of the run: the same run makes the same ids again.
        now: The clock's.
        signer: Signs links; None where letters have none.
        is_blank: Whether messages have no text: a replay asks who would have got them, not what they would have said.
    """

    settings: Settings
    as_of: datetime
    now: datetime
    signer: LinkSigner | None = None
    is_blank: bool = False

    def compose(self, notices: Iterable[Notice], spoken: Spoken) -> Mailing:
        """Compose the messages of a run, the most valuable first."""
        ranked = sorted(notices, key=lambda n: (-n.expected, n.risk.account_id, n.risk.kind))
        folded, parts = _fold_accounts(ranked)
        mailing = Mailing([], {}, {})
        rows = [*self._write_owners(folded, spoken, mailing), *self._write_teams(folded), *self._write_sponsors(folded)]
        for part, whole in parts.items():
            mailing.forms[part] = mailing.forms[whole]  # type: ignore[index]  # still being made
            mailing.messages[part] = mailing.messages[whole]  # type: ignore[index]  # likewise
        return replace(mailing, rows=[row | {"position": n} for n, row in enumerate(rows)])

    def _write_owners(self, notices: Sequence[Notice], spoken: Spoken, mailing: Mailing) -> Iterator[dict[str, Any]]:
        by_owner, owners = defaultdict[str, list[Notice]](list), dict[str, Recipient]()
        for notice in notices:
            owner = notice.binding.owner
            if owner is None:
                reason = f"{notice.binding.fault}, and there is no alerts.fallback_owner"
                row = self._build_letter(notice, None) | {"state": UNDELIVERABLE, "reason": reason}
                yield _note(mailing, UNDELIVERABLE, [notice], row)
            else:
                by_owner[owner.address.lower()].append(notice)
                owners[owner.address.lower()] = owner
        for address, theirs in by_owner.items():
            yield from self._write_owner(owners[address], theirs, spoken, mailing)

    def _write_owner(
        self, owner: Recipient, notices: Sequence[Notice], spoken: Spoken, mailing: Mailing
    ) -> Iterator[dict[str, Any]]:
        """Write one owner's letters, and a digest of what is beyond the caps, so that nothing goes untold.

        The fallback, which has no cap, gets a digest of all.
        """
        alerts = self.settings.alerts
        is_one_mail = alerts.digest or (owner.is_fallback and len(notices) > 1)
        room = 0 if is_one_mail else max(0, alerts.per_owner - spoken.recipients.get(owner.address.lower(), 0))
        fresh = [n for n in notices if spoken.accounts.get(n.risk.account_id, 0) < alerts.per_account_week]
        letters = fresh[:room]
        for notice in letters:
            yield _note(mailing, LETTER, [notice], self._build_letter(notice, owner))
        told = {notice.risk.episode for notice in letters}
        if rest := [n for n in notices if n.risk.episode not in told]:
            language = find_language(self.settings, owner.address)
            whys = (say(n.risk.why_you, language) for n in rest if n.risk.why_you)
            why = list(dict.fromkeys(whys)) if owner.is_fallback else []
            beyond = Phrase("Beyond the {n} letters a day that you get in full.", {"n": alerts.per_owner})
            head = self._build_id(DIGEST, rest[0])
            digest = Digest(
                [self._complete(n, head, language) for n in rest],
                why[:5] if is_one_mail else [*why[:5], beyond],
                alerts.per_owner if is_one_mail else 0,
                language=language,
            )
            yield _note(mailing, DIGEST, rest, self._build_row(DIGEST, owner, rest, digest.write_page))

    def _write_teams(self, notices: Sequence[Notice]) -> Iterator[dict[str, Any]]:
        """Write one digest to each team: the accounts whose cause is theirs to act on."""
        by_team = defaultdict[tuple[str, str], list[tuple[Recipient, Notice]]](list)
        for notice in notices:
            team = self._find_team(notice)
            if team:
                by_team[team.address.lower(), team.title].append((team, notice))
        for (_, title), entries in by_team.items():
            team = entries[0][0]
            theirs = [notice for _, notice in entries]
            language, cause = find_language(self.settings, team.address), {"cause": Phrase(title)}
            told = "You get this as the team for {cause}: your part is the cause. Their owners have the same letters."
            head = self._build_id(TEAM, theirs[0])
            risks = [replace(self._complete(n, head, language), others=(_name_owner(n),), why_you="") for n in theirs]
            about = About("{n} account needs you for {cause}", "{n:,} accounts need you for {cause}", cause)
            digest = Digest(risks, [Phrase(told, cause)], self.settings.alerts.per_owner, about, language)
            yield self._build_row(TEAM, team, theirs, digest.write_page)

    def _write_sponsors(self, notices: Sequence[Notice]) -> Iterator[dict[str, Any]]:
        """Write a packet to the sponsor of each of the largest accounts, at once; a digest of what is over the cap."""
        by_sponsor = defaultdict[str, list[tuple[Recipient, Notice]]](list)
        for notice in notices:
            if sponsor := self._find_sponsor(notice):
                by_sponsor[sponsor.address.lower()].append((sponsor, notice))
        for entries in by_sponsor.values():
            cap = self.settings.alerts.per_owner
            for sponsor, notice in entries[:cap]:
                yield self._build_packet(notice, sponsor)
            if rest := [notice for _, notice in entries[cap:]]:
                sponsor = entries[0][0]
                language, role = find_language(self.settings, sponsor.address), name_role(sponsor)
                told = "You get this as the {role}, beyond the {n} review packets a day."
                risks = [replace(self._complete(n, "", language), actions=(), why_you="") for n in rest]
                about = About("{n} account is at risk", "{n:,} accounts are at risk")
                digest = Digest(risks, [Phrase(told, {"role": role, "n": cap})], 0, about, language)
                row = self._build_row(PACKET, sponsor, rest, digest.write_page)
                yield row | {"deliver_after": None, "kind": DIGEST}

    def _build_packet(self, notice: Notice, sponsor: Recipient) -> dict[str, Any]:
        language = find_language(self.settings, sponsor.address)
        risk = self._complete(notice, self._build_id(PACKET, notice), language)
        packet = ReviewPacket(
            replace(risk, why_you=sponsor.why, others=()),
            name_role(sponsor),
            notice.binding.owner.address if notice.binding.owner else None,
            notice.course,
            notice.promised,
            notice.expected,
            language,
        )
        return self._build_row(PACKET, sponsor, [notice], packet.write_page) | {"deliver_after": None}

    def _build_letter(self, notice: Notice, owner: Recipient | None) -> dict[str, Any]:
        language = find_language(self.settings, owner.address if owner else None)
        risk = self._complete(notice, self._build_id(notice.kind, notice), language)
        return self._build_row(notice.kind, owner, [notice], lambda: write_page(risk, language))

    def _complete(self, notice: Notice, message_id: str, language: Language) -> AccountRisk:
        """Return what is told of an account: drivers in a language, who else was told, and links if there are any."""
        others = [*notice.risk.others]
        if team := self._find_team(notice):
            text = "The team for {cause} ({address}) has this account in its list: the cause is theirs."
            others.append(Phrase(text, {"cause": Phrase(team.title), "address": team.address}))
        if sponsor := self._find_sponsor(notice):
            text = "The {role} ({address}) has a review packet: meet about it."
            others.append(Phrase(text, {"role": name_role(sponsor), "address": sponsor.address}))
        actions = self.signer.list_actions(message_id, notice.risk.episode) if self.signer else ()
        risk = notice.risk if language == ENGLISH else translate_drivers(notice.risk, self._catalog, language)
        return replace(risk, others=tuple(others), actions=actions)

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog.for_company(self.settings)

    def _find_team(self, notice: Notice) -> Recipient | None:
        return notice.binding.teams.get(notice.cause or "") if notice.risk.kind in SHARED_KINDS else None

    def _find_sponsor(self, notice: Notice) -> Recipient | None:
        at_once = self.settings.binding.escalation.at_once
        is_shared = notice.risk.kind in SHARED_KINDS and notice.binding.tier in at_once
        return notice.binding.sponsor if is_shared else None

    def _build_row(
        self, kind: str, recipient: Recipient | None, notices: Sequence[Notice], write: Callable[[], Mapping[str, str]]
    ) -> dict[str, Any]:
        wait = self.settings.alerts.in_working_time and recipient is not None
        after = recipient.calendar.find_next(self.now) if wait and recipient else None
        now = to_micros(self.now)
        return {
            "id": self._build_id(kind, notices[0]),
            "episode_id": notices[0].risk.episode if len(notices) == 1 else None,
            "kind": kind,
            "recipient": recipient and recipient.address,
            **(_BLANK if self.is_blank else write()),
            "state": PENDING,
            "reason": None,
            "attempts": 0,
            "created_at": now,
            "next_try_at": now,
            "deliver_after": None if after is None else to_micros(after),
        }

    def _build_id(self, kind: str, notice: Notice) -> str:
        """Return the id of the message that a notice heads: the same in each run at this `as_of`."""
        parts = (self.settings.company.name, str(to_micros(self.as_of)), kind, notice.risk.episode)
        return str(uuid.uuid5(_SPACE, "\x1f".join(parts)))


def _fold_accounts(notices: Sequence[Notice]) -> tuple[list[Notice], dict[str, str]]:
    """Fold what is said of one account into its most valuable notice; returns also the episode of each part."""
    first: dict[str, Notice] = {}
    parts: dict[str, str] = {}
    for notice in notices:
        account = notice.risk.account_id
        whole = first.get(account)
        if whole is None:
            first[account] = notice
            continue
        said = Phrase("Also open on this account: {kind}.", {"kind": describe_kind(notice.risk)})
        first[account] = replace(whole, risk=replace(whole.risk, others=(*whole.risk.others, said)))
        parts[notice.risk.episode] = whole.risk.episode
    return list(first.values()), parts


def _note(mailing: Mailing, form: str, notices: Sequence[Notice], row: dict[str, Any]) -> dict[str, Any]:
    """Note how these episodes' owner hears of them, and return the row."""
    for notice in notices:
        mailing.forms[notice.risk.episode] = form  # type: ignore[index]  # still being made
        mailing.messages[notice.risk.episode] = row["id"]  # type: ignore[index]  # likewise
    return row


def _name_owner(notice: Notice) -> Phrase:
    owner = notice.binding.owner
    return Phrase("Its owner is {owner}.", {"owner": owner.address}) if owner else Phrase("Its owner can't be reached.")


def name_role(sponsor: Recipient) -> Text:
    """Return a sponsor's role: the settings' own word, but for the one that stands there by default."""
    return Phrase(sponsor.title) if sponsor.title == Sponsor.model_fields["role"].default else sponsor.title
