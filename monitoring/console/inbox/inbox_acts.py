"""What people do with episodes on pages: each act and its record in the audit table are one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from features.core.errors import GarrisonError
from features.state.database import Store
from features.state.tables import EPISODES
from monitoring.alerts import acts, kinds
from monitoring.alerts.acts import EpisodeView
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.sign_in.person import Person
from monitoring.lifetime.submitted_forms import claim_form

SNOOZE_DAYS = (3, 7, 14, 30)
ACTS = ("acknowledge", "snooze", "verdict", "hand-over", "close")
OUTCOMES = (kinds.SAVED, kinds.RECOVERED, kinds.LEFT, kinds.FALSE_ALARM)


def act_once(store: Store, person: Person, episode_id: str, act: str, form: Mapping[str, str]) -> EpisodeView | None:
    """Do an act on an episode that the person sees; a form that did its act before does nothing.

    Args:
        store: The state database.
        person: Who acts.
        episode_id: Which.
        act: As `act_on_episode` takes it.
        form: As there, and `form` (its key).

    Returns:
        The episode after it; None where the form did its act before.

    Raises:
        GarrisonError: Somebody has decided something since, or the act lacks what it needs; nothing was changed.
    """
    with begin_act(store) as joined:
        if not claim_form(joined.connection, form.get("form", ""), by=person.address, act=act):
            return None
        return act_on_episode(joined, person, episode_id, act, form)


def act_on_episode(store: Store, person: Person, episode_id: str, act: str, form: Mapping[str, str]) -> EpisodeView:
    """Do an act on an episode that the person sees.

    Args:
        store: The state database.
        person: Who acts.
        episode_id: Which.
        act: One of `ACTS`. A verdict says of the alert that it is right, which acknowledges it, or a false alarm, which
            closes it.
        form: `version` (as the person saw it), `reason`, and by act `days`, `right`, `to`, `outcome`.

    Returns:
        The episode after it.

    Raises:
        GarrisonError: Somebody has decided something since, or the act lacks what it needs; nothing was changed.
    """
    version, reason = form.get("version", ""), form.get("reason", "")
    if not (version.isdecimal() and len(version) < 10):
        raise GarrisonError("the form does not say which version you saw", hint="Open the inbox again")
    with begin_act(store) as joined:
        given = {"by": person.address, "version": int(version), "reason": reason}
        is_false = act == "verdict" and form.get("right") != "yes"
        if act in {"acknowledge", "verdict"} and not is_false:
            after = acts.acknowledge(joined, episode_id, **given)  # type: ignore[arg-type]  # by name
        elif act == "snooze":
            days = int(form["days"]) if form.get("days", "") in map(str, SNOOZE_DAYS) else SNOOZE_DAYS[1]
            after = acts.snooze(joined, episode_id, until=datetime.now(UTC) + timedelta(days=days), **given)  # type: ignore[arg-type]
        elif act == "hand-over":
            after = acts.hand_over(joined, episode_id, to=form.get("to", ""), **given)  # type: ignore[arg-type]
        elif act in {"close", "verdict"}:
            outcome = kinds.FALSE_ALARM if is_false else form.get("outcome", "")
            after = acts.close(joined, episode_id, outcome=outcome, **given)  # type: ignore[arg-type]
        else:
            raise GarrisonError(f"there is no act {act!r}", hint=f"One of {', '.join(ACTS)}")
        details = {"state": after.state, "version": after.version, "reason": reason[:500]}
        details |= {k: form[k][:200] for k in ("days", "to", "outcome", "right") if form.get(k)}
        record_act(joined.connection, person, act.replace("-", "_"), EPISODES.name, after.id, details)
    return after
