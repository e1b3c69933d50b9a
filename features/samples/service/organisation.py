"""Run the service organisation of a chunk: its tables, and the hidden truth about its tickets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.core.contract import FIRST_ACTIONS
from features.core.timestamps import DAY
from features.samples.causes import Floats
from features.samples.history import SimulatedHistory
from features.samples.parts import number_ids
from features.samples.population import Population
from features.samples.service import actions, effects, relations, staff, ticket_problems, ticket_texts
from features.samples.service.actions import Actions
from features.samples.service.problems import LANGUAGES, read_problems
from features.samples.service.ticket_problems import TicketProblems
from features.samples.terms import Ints
from features.samples.tickets import TOPICS

PARTNERS = 6
_PARTNERED = 0.25  # share of accounts that a partner serves
_CHINESE, _MIXES = 0.75, 0.12  # share of accounts of Asia that write Chinese; of their tickets in the other language
_SETTLING_DAYS, _RENEWAL_DAYS = 90, 60
# Random numbers a ticket: for actions, problems, texts, and five of its own.
_DRAWS = actions.DRAWS + ticket_problems.DRAWS + ticket_texts.DRAWS + 4


@dataclass(frozen=True)
class Organisation:
    """What the service organisation of a chunk did, and why.

    Args:
        tickets: Further columns of `tickets`.
        tables: Further tables: people, staff, contracts, promises, surveys.
        truth: Hidden truth: one row a ticket, and the payroll.
        partner: Further column of `accounts`.
    """

    tickets: dict[str, pa.Array]
    tables: dict[str, pa.Table]
    truth: dict[str, pa.Table]
    partner: pa.Array


def run_organisation(  # noqa: PLR0913  # the parts of a chunk, each by name
    streams: dict[str, np.random.Generator],
    people: Population,
    history: SimulatedHistory,
    region: pa.Array,
    *,
    chunk: int,
    until: int,
) -> Organisation:
    """Run the organisation of a chunk.

    Args:
        streams: `service_accounts`, `service_tickets` and `service_relations`, of its own.
        people: The chunk.
        history: Its lives.
        region: Of each account.
        chunk: Its number.
        until: The first day without data.
    """
    rows, n = history.tickets, len(people.start)
    traits = streams["service_accounts"].random((n, 3))
    is_asian = np.array(region.to_pylist()) == "asia-pacific"
    language = (is_asian & (traits[:, 0] < _CHINESE)).astype(np.int64)
    draws = streams["service_tickets"].random((len(rows["at"]), _DRAWS))
    parts = np.split(draws, np.cumsum([actions.DRAWS, ticket_problems.DRAWS, ticket_texts.DRAWS]), axis=1)
    account = rows["account"]
    done = actions.draw_actions(parts[0], rows, people.size[account])
    about = ticket_problems.draw_problems(parts[1], rows, done.settled, n)
    own = parts[3]
    written = np.where((language[account] == 1) & (own[:, 0] < _MIXES), 0, language[account])
    subject, body = ticket_texts.write_tickets(
        parts[2], about.problem, written, _find_stage(people, account, rows["at"]), rows["priority"]
    )
    team = staff.hire_staff(n, chunk)
    worker = staff.assign_tickets(team, actions.find_team(rows["topic"], done.action), own[:, 1])
    handled_by, is_done = team.emails.take(pa.array(worker)), rows["resolved"] < until * DAY
    columns = {
        "subject": subject,
        "body": body,
        "language": pa.array(LANGUAGES).take(pa.array(written)),
        "handled_by": handled_by,
        "minutes": pa.array(done.minutes, mask=~is_done).cast(pa.decimal128(18, 1)),
        "first_contact_resolved": pa.array(done.settled, mask=~is_done),
        "first_action": pa.array(FIRST_ACTIONS).take(pa.array(done.action, mask=rows["answered"] >= until * DAY)),
    }
    promised = ticket_texts.write_promises(about.problem, written)
    tables = relations.live_relations(streams["service_relations"], people, history, language, until)
    tables["contracts"] = relations.build_contracts(history.purchases, people, chunk=chunk)
    tables["promises"] = relations.build_promises(
        own[:, 2:4], rows, people.ids, promised=promised, by=handled_by, until=until
    )
    tables["staff"] = staff.build_table(team)
    told = {
        "truth_tickets": _build_truth(people, history, about, done, chunk=chunk, until=until),
        "truth_payroll": staff.build_payroll(team, worker[is_done], rows["at"][is_done], done.minutes[is_done]),
    }
    return Organisation(columns, tables, told, _name_partners(traits))


def _find_stage(people: Population, account: Ints, at: Ints) -> Ints:
    """Return the stage that each ticket's account is in, an index in `ticket_texts.STAGES`."""
    day = at // DAY
    stage = np.ones(len(day), np.int64)
    for today in np.unique(day):
        some = day == today
        left = people.traits.terms.of(account[some]).days_left(int(today))
        long = people.traits.terms.length[account[some]] == 12
        stage[some] = np.where(long & (left <= _RENEWAL_DAYS), 2, 1)
    return np.where(day - people.start[account] < _SETTLING_DAYS, 0, stage)


def _name_partners(traits: Floats) -> pa.Array:
    number = (traits[:, 2] * PARTNERS).astype(np.int64)
    names = pa.array([f"partner-{i + 1}" for i in range(PARTNERS)])
    return names.take(pa.array(number, mask=traits[:, 1] >= _PARTNERED))


def _build_truth(  # noqa: PLR0913  # all that is known of a chunk's tickets
    people: Population, history: SimulatedHistory, about: TicketProblems, done: Actions, *, chunk: int, until: int
) -> pa.Table:
    """Build one row a ticket: its problem, what that does to leaving, and what every first action would have done."""
    rows = history.tickets
    effect = effects.compute_effects(rows, about.marks, people.traits)
    value = effects.sum_year_before(history.purchases, rows["account"], rows["at"])
    taken = done.chances[np.arange(len(done.action)), done.action]
    costs = actions.expect_costs(rows["topic"], done.settles)
    columns = {
        "ticket_id": number_ids("K", chunk, len(effect)),
        "account_id": people.ids.take(pa.array(rows["account"])),
        "problem": pa.array([p.key for p in read_problems()]).take(pa.array(about.problem)),
        "topic": pa.array(TOPICS).take(pa.array(rows["topic"])),
        "marks": about.marks,
        "hit": about.hit,
        "returned": about.returned,
        "effect_churn_90d": effect,
        "value_365d": value,
        "first_action": pa.array(FIRST_ACTIONS).take(pa.array(done.action)),
        "p_first_action": taken,
        "known": rows["resolved"] < until * DAY,
    }
    columns |= {f"p_settled_{name}": done.settles[:, a] for a, name in enumerate(FIRST_ACTIONS)}
    columns |= {f"cost_{name}": costs[:, a] for a, name in enumerate(FIRST_ACTIONS)}
    return pa.table(columns)
