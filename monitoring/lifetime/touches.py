"""Record that somebody was in touch with an account, so that the next night's features and cadence know of it."""

from __future__ import annotations

from datetime import datetime

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.settings import Settings
from features.state.database import Store
from serving.events.log import store_events
from serving.schemas.event_requests import PostedEvent

# Kinds that a person may record, as features know them, and their titles.
KINDS = {
    "call": "Call",
    "visit": "Visit",
    "meeting": "Meeting",
    "email": "E-mail",
    "training": "Training",
    "play done": "Next step done",
}


def record_touch(  # noqa: PLR0913  # what a touch is
    settings: Settings, store: Store, account_id: str, *, kind: str, at: datetime, key: str
) -> None:
    """Record a touch in the log of events, which every later reading of the tables takes in.

    Args:
        settings: The company's.
        store: The state database, or the transaction that this belongs to.
        account_id: Of the account.
        kind: Of `KINDS`.
        at: When it was; not in the future.
        key: Of the touch: recorded again under the same key, it is the same touch.

    Raises:
        GarrisonError: There is no such kind, it is in the future, or it can't be stored.
    """
    if kind not in KINDS:
        raise GarrisonError(f"{kind} is no kind of touch", hint=f"It is one of {', '.join(KINDS)}")
    content = {"account_id": account_id, "touched_at": to_micros(at), "kind": kind}
    (status,) = store_events(settings, store, {"touches": [PostedEvent("touches", key, None, content)]})["touches"]
    if status["error"] is not None:
        raise GarrisonError("the touch can't be recorded", found=status["error"]["message"], hint="Look at its day")
