"""Define the kinds of episodes, their states, and how an episode may change."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from features.core.errors import GarrisonError

CHURN, SILENT_DECLINE, SERVICE_FAILURE = "churn", "silent_decline", "service_failure"
RENEWAL_NEAR, UPSELL, PROMISE_DUE, VISIT_DUE = "renewal_near", "upsell", "promise_due", "visit_due"
# In words, for people.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        CHURN: "at risk",
        SILENT_DECLINE: "silent decline",
        SERVICE_FAILURE: "service failure",
        RENEWAL_NEAR: "renewal near",
        UPSELL: "upsell chance",
        PROMISE_DUE: "promise due",
        VISIT_DUE: "visit due",
    }
)
# A kind opens nothing on an account while one of these is open there: that one speaks for it.
SPOKEN_FOR_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        SILENT_DECLINE: (CHURN,),
        RENEWAL_NEAR: (CHURN, SILENT_DECLINE),
        VISIT_DUE: (CHURN, SILENT_DECLINE, SERVICE_FAILURE, RENEWAL_NEAR),
        UPSELL: (CHURN, SILENT_DECLINE, SERVICE_FAILURE, PROMISE_DUE),
    }
)

OPEN, NOTIFIED, ACKNOWLEDGED, SNOOZED, CLOSED = "open", "notified", "acknowledged", "snoozed", "closed"
SAVED, LEFT, RECOVERED, FALSE_ALARM = "saved", "left", "recovered", "false_alarm"
EXPIRED, MERGED = "expired", "merged"
OUTCOMES = (SAVED, LEFT, RECOVERED, FALSE_ALARM, EXPIRED, MERGED)

# Events, by who makes them.
OPENED, EASED, RETURNED, UNSEEN, WORSENED, WOKEN, EXITED = (
    "opened",
    "eased",
    "returned",
    "unseen",
    "worsened",
    "woken",
    "exited",
)
HANDED_OVER, ENDED, ESCALATED = "handed_over", "closed", "escalated"
# Events that decide something: an act that has not seen one of them is refused.
DECISIONS = (ACKNOWLEDGED, SNOOZED, HANDED_OVER, ENDED)

# The states from which each event may come, and the state after it; None leaves the state as it is.
_LIVE = (OPEN, NOTIFIED, ACKNOWLEDGED, SNOOZED)
TRANSITIONS: Mapping[str, tuple[tuple[str, ...], str | None]] = MappingProxyType(
    {
        OPENED: ((), OPEN),
        NOTIFIED: ((OPEN,), NOTIFIED),
        ACKNOWLEDGED: ((OPEN, NOTIFIED, SNOOZED), ACKNOWLEDGED),
        SNOOZED: ((OPEN, NOTIFIED, ACKNOWLEDGED, SNOOZED), SNOOZED),
        WOKEN: ((SNOOZED,), OPEN),
        EASED: (_LIVE, None),
        RETURNED: (_LIVE, None),
        UNSEEN: (_LIVE, None),
        WORSENED: (_LIVE, None),
        ESCALATED: (_LIVE, None),
        HANDED_OVER: (_LIVE, OPEN),
        ENDED: (_LIVE, CLOSED),
        EXITED: ((CLOSED,), None),
    }
)


def find_next_state(state: str, event: str, *, episode: str) -> str:
    """Return the state of an episode after an event.

    Raises:
        GarrisonError: The event can't happen in this state.
    """
    allowed, following = TRANSITIONS[event]
    if state not in allowed:
        raise GarrisonError(
            f"the episode {episode} can't be {event.replace('_', ' ')}",
            found=f"it is {state}",
            hint=f"`python -m monitoring episodes --events {episode}` shows its course",
        )
    return following or state
