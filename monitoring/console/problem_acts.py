"""What people do to problems on pages: each act, its form and its record in the audit table are one transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping

from features.core.errors import GarrisonError
from features.core.language import LANGUAGES
from features.settings import Settings
from features.state.database import Store
from features.state.problem_tables import PROBLEMS
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.sign_in.person import Person
from monitoring.lifetime.submitted_forms import claim_form
from monitoring.problems import library, problem_acts
from monitoring.problems.problem_file import count_now

ACTS = ("make", "change", "fix", "merge", "link")
_CHANGED = ("name", "cause", "owner", "team", "state")
# Changes that change counts.
_COUNTED = ("fix", "merge", "link")


def act_on_problem(  # noqa: PLR0913, PLR0917  # who does what to what
    settings: Settings, store: Store, person: Person, problem_id: str | None, act: str, form: Mapping[str, str]
) -> str:
    """Do an act; a form that did its act before does nothing. Returns the id of the problem to show.

    Args:
        settings: The company's.
        store: The state database.
        person: Who acts.
        problem_id: Which; None to make one.
        act: One of `ACTS`.
        form: `form` (its key), `version` (as the person saw it), and by act what `monitoring.problems.problem_acts`
            takes.

    Raises:
        GarrisonError: Somebody has changed the problem since, or the act lacks what it needs; nothing was changed.
    """
    key, by = form.get("form", ""), person.address
    with begin_act(store) as joined:
        connection = joined.connection
        is_new = claim_form(connection, key, by=by, act=f"problem {act}")
        if problem_id is None:
            if is_new:
                name, cause, team = (form.get(field, "") for field in ("name", "cause", "team"))
                shown = problem_acts.make_problem(connection, name, cause=cause, team=team, by=by, key=f"P-{key[:8]}")
                record_act(connection, person, "make_problem", PROBLEMS.name, shown.id, {"name": shown.name})
                return shown.id
            return f"P-{key[:8]}"
        problem = library.find_problem(connection, problem_id)
        if not is_new:
            return problem.id
        if form.get("version", "") != str(problem.version):
            raise GarrisonError(
                "this problem has changed since you saw it", found=problem.name, hint="Look at it again"
            )
        details: dict[str, str] = {}
        shown = problem
        if act == "change":
            details = {name: form[name].strip() for name in _CHANGED if name in form}
            problem_acts.change_problem(connection, problem, details, by=by)
        elif act == "fix":
            details = {language: form.get(f"text_{language}", "") for language in LANGUAGES}
            is_gone = form.get("removes_cause") == "yes"
            problem_acts.give_fix(connection, problem, details, by=by, key=key, removes_cause=is_gone)
        elif act == "merge":
            shown = library.find_problem(connection, form.get("into", ""))
            details = {"into": shown.id}
            problem_acts.merge_problems(connection, problem, shown, by=by)
        elif act == "link":
            tickets = [name for name in re.split(r"[\s,;]+", form.get("tickets", "")) if name][:200]
            details = {"tickets": ", ".join(tickets)}
            problem_acts.link_tickets(connection, problem, tickets, by=by)
        else:
            raise GarrisonError(f"there is no act {act!r}", hint=f"One of {', '.join(ACTS)}")
        kept = {name: value[:500] for name, value in details.items()}
        record_act(connection, person, f"{act}_problem", PROBLEMS.name, problem.id, kept)
    if act in _COUNTED:
        count_now(settings, store)
    return shown.id
