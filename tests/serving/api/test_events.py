"""Events over HTTP, from the posting to the score, the batch and the parity check; all with the real service."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.sources.history import History
from features.state import database
from serving.api import auth
from serving.batch import run
from serving.scoring.scorer import load_champions
from serving.scoring.snapshot_store import StoredSnapshot

USES = [{"event_id": f"u{i}", "account_id": "A-003", "used_at": f"2023-12-30T1{i}:00:00Z"} for i in range(9)]


def test_the_next_score_by_id_sees_what_was_posted_and_batch_agrees(
    own_harbour: Any, start: Any, serving: Any, now: datetime, tmp_path: Path
) -> None:
    run.score_accounts(own_harbour.settings, None, as_of=now)
    with database.open(own_harbour.settings) as opened:
        key = auth.create_key(opened, "test", "score,read,ingest")
    with (
        start(own_harbour, key, tmp_path / "log") as served,
        httpx.Client(base_url=served.url, headers={"authorization": f"Bearer {key}"}, timeout=30) as http,
    ):

        def scored(*ids: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = http.post("/v1/score", json={"accounts": ids}).json()["results"]
            return found

        before = scored("A-003", "A-004")
        posted = http.post("/v1/events", json={"usage": USES}).json()
        assert {item["fate"] for item in posted["usage"]} == {"accepted"}
        assert {item["fate"] for item in http.post("/v1/events", json={"usage": USES}).json()["usage"]} == {"duplicate"}
        after, other = scored("A-003", "A-004")
        assert after["as_of"] > before[0]["as_of"]
        assert after["scores"]["churn_90d"]["trend"]["score"] == before[0]["scores"]["churn_90d"]["score"]
        assert other["scores"] == before[1]["scores"]
        assert http.post("/v1/score", json={"accounts": [own_harbour.posted("A-003")]}).is_success
    scorer = load_champions(own_harbour.settings)
    with History.open(own_harbour.settings) as history:
        rows = StoredSnapshot.build(own_harbour.settings, history, datetime.fromisoformat(after["as_of"])).prepare(
            scorer
        )
    place = rows.account_ids.tolist().index("A-003")
    for target, scores in scorer.score(rows).items():
        for h, horizon in enumerate(scorer.models[target].horizons):
            assert after["scores"][f"{target}_{horizon}d"]["score"] == float(scores[place, h])
    checked = serving("parity", "--config", own_harbour.config)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "0 differ" in checked.stdout


@pytest.mark.parametrize("scope", ["score", "read"])
def test_a_key_without_the_scope_posts_nothing(own_harbour: Any, scope: str) -> None:
    with database.open(own_harbour.settings) as opened:
        key = auth.create_key(opened, "test", scope)
        holder = auth.Keyring(opened).find_key(f"Bearer {key}")
    assert holder is not None
    assert not holder.has_scope("ingest")
