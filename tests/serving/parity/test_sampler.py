"""What the parity check keeps of posted accounts."""

from __future__ import annotations

import json
from typing import Any

from serving.parity import sampler


def test_a_kept_account_has_people_as_aliases_and_nothing_that_they_wrote() -> None:
    ticket = {"ticket_id": "T1", "opened_at": "2024-01-01", "handled_by": "marked@x.example", "subject": "marked"}
    usage = [{"used_at": "2024-01-01", "user_id": user} for user in ("marked 1", "marked 1", "marked 2")]
    posted: Any = {"account": {"account_id": "A", "name": "marked"}, "tickets": [ticket], "usage": usage}
    text = sampler._serialize_posted(posted)
    assert "marked" not in text
    kept = json.loads(text)
    assert kept["tickets"][0].keys() == {"ticket_id", "opened_at", "handled_by"}
    first, second, third = (row["user_id"] for row in kept["usage"])
    assert first == second != third
