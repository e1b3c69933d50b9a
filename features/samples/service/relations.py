"""Live through what accounts have beside their use: people who leave, surveys, contracts with notice, promises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.core.timestamps import DAY
from features.samples.causes import Floats, State, arrange_by_state
from features.samples.history import SimulatedHistory
from features.samples.parts import Rows, number_ids, pad_numbers, to_timestamps
from features.samples.population import Population
from features.samples.purchases import KINDS
from features.samples.service import ticket_texts
from features.samples.terms import Flags, Ints

_ROLES = ("champion", "executive", "user", "billing")
_HOUR = DAY // 24
_LEAVES = arrange_by_state(  # chance a month that the champion leaves
    settling=0.006,
    misfit=0.03,
    steady=0.004,
    growing=0.003,
    fading=0.05,
    faded=0.07,
    dormant=0.07,
    aggrieved=0.02,
    bitter=0.03,
    pinched=0.01,
)
_PLEASED = arrange_by_state(  # mean answer to NPS, before rounding
    settling=8.2,
    misfit=5.8,
    steady=8.2,
    growing=9.1,
    fading=6.6,
    faded=5.4,
    dormant=4.6,
    aggrieved=3.2,
    bitter=3.4,
    pinched=5.4,
)
_KEEPS = arrange_by_state(  # chance that a promise is kept in time
    settling=0.9,
    misfit=0.7,
    steady=0.92,
    growing=0.94,
    fading=0.85,
    faded=0.8,
    dormant=0.8,
    aggrieved=0.55,
    bitter=0.45,
    pinched=0.85,
)
_REPLACED = 0.7  # share of champions who left for whom another one comes
_ASKED, _ANSWERS = 3, 0.5  # months from one survey to the next, and the share who answer
_DUE_DAYS = 14
_NOTICE_DAYS = {1: 14, 3: 30, 12: 60}


def live_relations(
    rng: np.random.Generator, people: Population, history: SimulatedHistory, language: Ints, until: int
) -> dict[str, pa.Table]:
    """Return the chunk's rows of `people` and `surveys`: month by month, from the state at each month's start.

    Args:
        rng: Of their own; drawn from in the order of the months.
        people: The chunk.
        history: Its lives.
        language: Of each account, an index in `LANGUAGES`.
        until: The first day without data.
    """
    n = len(people.start)
    extra = rng.random((n, 2))
    since = [people.created, people.created, people.created, people.created]
    first = [np.arange(n), np.arange(n), np.flatnonzero(extra[:, 0] < 0.8), np.flatnonzero(extra[:, 1] < 0.6)]
    members = [_people(who, role, since[role][who]) for role, who in enumerate(first)]
    champion = np.arange(n)  # the row among `left` of each account's champion
    joined, left = np.concatenate([m["since"] for m in members]), np.full(sum(len(m["role"]) for m in members), -1)
    answers: list[Rows] = []
    for month, moment in enumerate(history.moments):
        chance = rng.random((n, 8))
        state = np.full(n, -1)
        state[moment.account] = moment.state
        there, start = state >= 0, moment.as_of * DAY
        answers.append(_ask(chance, state, there & (np.arange(n) % _ASKED == month % _ASKED), start, champion))
        goes = (
            there & (champion >= 0) & (joined[champion] < start) & (chance[:, 5] < np.where(there, _LEAVES[state], 0.0))
        )
        who = np.flatnonzero(goes)
        left[champion[who]] = start + (chance[who, 6] * 28 * DAY).astype(np.int64)
        comes = chance[who, 7] < _REPLACED
        new = who[comes]
        following = left[champion[new]] + ((20 + 40 * chance[new, 7]) * DAY).astype(np.int64)
        members.append(_people(new, 0, following))
        champion[who] = -1
        champion[new] = len(left) + np.arange(len(new))
        joined, left = np.concatenate([joined, following]), np.concatenate([left, np.full(len(new), -1)])
    rows = {name: np.concatenate([m[name] for m in members]) for name in members[0]}
    seen = (joined < until * DAY) & (people.created[rows["account"]] < until * DAY)
    return {
        "people": _build_people(rows, left, people.ids, until).filter(pa.array(seen)),
        "surveys": _build_surveys(answers, people.ids, language, until),
    }


def _people(who: Ints, role: int, since: Ints) -> Rows:
    return {"account": who, "role": np.full(len(who), role), "since": since}


def _ask(chance: Floats, state: Ints, asked: Flags, start: int, champion: Ints) -> Rows:
    """Return the answers to a month's survey: of the champion or the executive."""
    who = np.flatnonzero(asked & (chance[:, 0] < _ANSWERS))
    mean = _PLEASED[state[who]]
    spread = np.sqrt(-2 * np.log1p(-chance[who, 1])) * np.cos(2 * np.pi * chance[who, 2])  # normal, by Box and Muller
    score = np.clip(np.rint(mean + 1.4 * spread), 0, 10).astype(np.int64)
    by = np.where(
        (chance[who, 3] < 0.6) & (champion[who] >= 0), champion[who], -2 - who
    )  # an executive is -2 - account
    at = start + ((1 + 20 * chance[who, 4]) * DAY).astype(np.int64)
    return {"account": who, "by": by, "score": score, "at": at, "luck": chance[who, 3]}


def _build_people(rows: Rows, left: Ints, ids: pa.Array, until: int) -> pa.Table:
    account = ids.take(pa.array(rows["account"])).cast(pa.string())
    number = pad_numbers(np.arange(len(left)), 2)
    person = pc.binary_join_element_wise("P", account, number, "-")
    role = pa.array(_ROLES).take(pa.array(rows["role"]))
    name = pc.binary_join_element_wise(role, account, " of ")
    return pa.table(
        {
            "person_id": person,
            "account_id": account,
            "name": name,
            "email": pc.binary_join_element_wise(role, "-", number, "@", pc.utf8_lower(account), ".example", ""),
            "role": role,
            "since": to_timestamps(rows["since"]),
            "until": to_timestamps(left, absent=(left < 0) | (left >= until * DAY)),
        }
    )


def _build_surveys(answers: Sequence[Rows], ids: pa.Array, language: Ints, until: int) -> pa.Table:
    rows = {name: np.concatenate([a[name] for a in answers]) for name in answers[0]} if answers else {}
    if rows:
        seen = rows["at"] < until * DAY
        rows = {name: values[seen] for name, values in rows.items()}
    else:
        rows = {name: np.empty(0, np.int64) for name in ("account", "by", "score", "at")} | {"luck": np.empty(0)}
    n = len(ids)
    executive = n + (-2 - rows["by"])
    number = np.where(rows["by"] >= 0, rows["by"], executive)
    account = ids.take(pa.array(rows["account"])).cast(pa.string())
    text = ticket_texts.write_comments(rows["score"] / 10.01, language[rows["account"]], rows["luck"] * 7 % 1)
    silent = pa.array(rows["luck"] < 0.5)
    return pa.table(
        {
            "account_id": account,
            "person_id": pc.binary_join_element_wise("P", account, pad_numbers(number, 2), "-"),
            "at": to_timestamps(rows["at"]),
            "kind": pa.array(["nps"]).take(pa.array(np.zeros(len(account), np.int64))),
            "score": rows["score"],
            "text": pc.if_else(silent, pa.scalar(None, pa.string()), text),
        }
    )


def build_contracts(purchases: Rows, people: Population, *, chunk: int) -> pa.Table:
    """Build the chunk's rows of `contracts`: one a term, with the day until when notice may be given."""
    begins = (purchases["kind"] == KINDS.index("new")) | (purchases["kind"] == KINDS.index("renewal"))
    rows = {name: values[begins] for name, values in purchases.items()}
    order = np.lexsort((rows["product"], rows["begin"], rows["account"]))
    rows = {name: values[order] for name, values in rows.items()}
    key = rows["account"] * 10**6 + rows["begin"]
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    length = people.traits.terms.length[rows["account"]]
    value = np.bincount(place, rows["cents"] * (length / np.maximum(rows["billing"], 1)), minlength=len(first)) / 100
    one = {name: values[first] for name, values in rows.items()}
    lasts = length[first]
    notice = np.select([lasts == months for months in _NOTICE_DAYS], list(_NOTICE_DAYS.values()), 30)
    ids = number_ids("C", chunk, len(first))
    follows = np.concatenate([[False], one["account"][1:] == one["account"][:-1]]) if len(first) else np.empty(0, bool)
    before = ids.take(pa.array(np.maximum(np.arange(len(first)) - 1, 0)))
    return pa.table(
        {
            "contract_id": ids,
            "account_id": people.ids.take(pa.array(one["account"])).cast(pa.string()),
            "starts": to_timestamps(one["begin"] * DAY),
            "ends": to_timestamps(one["end"] * DAY),
            "notice_until": to_timestamps((one["end"] - notice) * DAY),
            "auto_renew": pa.array(lasts < 12),
            "value": pa.array(np.round(value, 2)).cast(pa.decimal128(18, 2)),
            "replaces": pc.if_else(pa.array(follows), before, pa.scalar(None, pa.string())),
        }
    )


def build_promises(  # noqa: PLR0913  # what a promise says, by name
    draws: Floats, rows: Rows, ids: pa.Array, *, promised: pa.Array, by: pa.Array, until: int
) -> pa.Table:
    """Build the chunk's rows of `promises`: made when some tickets are answered, kept or not by the account's state.

    Args:
        draws: Uniform numbers, (n, 2).
        rows: Of tickets.
        ids: Of accounts.
        promised: What would be promised about each ticket.
        by: Who works on it.
        until: The first day without data.
    """
    chance = np.where(rows["failed"], 0.6, np.where(rows["escalated"], 0.35, 0.03))
    made_at, end = rows["answered"], until * DAY
    some = np.flatnonzero((draws[:, 0] < chance) & (made_at < end))
    luck, keeps = draws[some, 1], _KEEPS[rows["state"][some]]
    due = made_at[some] + _DUE_DAYS * DAY
    in_time = luck < keeps
    late = np.where(in_time, -_HOUR - (luck / keeps * 9 * DAY), (luck - keeps) / (1 - keeps) * 60 * DAY)
    kept_at = due + late.astype(np.int64)
    never = ~in_time & (luck > keeps + 0.6 * (1 - keeps))
    return pa.table(
        {
            "account_id": ids.take(pa.array(rows["account"][some])).cast(pa.string()),
            "made_at": to_timestamps(made_at[some]),
            "by": by.take(pa.array(some)),
            "text": promised.take(pa.array(some)),
            "due": to_timestamps(due),
            "kept_at": to_timestamps(kept_at, absent=never | (kept_at >= end)),
        }
    )


assert len(State) == len(_LEAVES)
