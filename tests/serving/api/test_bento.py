from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from features.core.errors import GarrisonError
from features.state import database
from serving.__main__ import app
from serving.api import auth
from serving.client import AnswerError, Client
from tests.support.waiting import wait_until

SAMPLE = ("A-000", "A-007", "A-023", "A-041", "A-079")  # A-007 has no ticket


@pytest.fixture(scope="module")
def raw(served: Any) -> Iterator[httpx.Client]:
    """The service without our client: whatever a stranger may send."""
    headers = {"authorization": f"Bearer {served.key}", "content-type": "application/json"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=30) as found:
        yield found


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and code, the body being exactly the envelope."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    return response.status_code, body["error"]["code"]


def asked(raw: httpx.Client, accounts: list[Any], **rest: Any) -> list[dict[str, Any]]:
    """The results of a scoring request; how old they are apart, which passes."""
    response = raw.post("/v1/score", json={"accounts": accounts, **rest})
    assert response.status_code == 200, response.text
    return [{k: v for k, v in item.items() if k != "age_s"} for item in response.json()["results"]]


def test_the_service_is_alive_and_ready(raw: httpx.Client) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        response = raw.get(path)
        assert response.status_code == 200
        assert response.headers["x-content-type-options"] == "nosniff"
    assert "x-garrison-fallback" not in raw.get("/readyz").headers


def test_a_head_without_bounds_is_refused_before_any_key(raw: httpx.Client) -> None:
    assert raw.get("/healthz", headers={f"h{i}": "v" for i in range(101)}).status_code == 431
    assert raw.get("/healthz", headers={"long": "v" * 65_536}).status_code == 431
    assert raw.get("/healthz").status_code == 200


def test_scores_by_id_are_those_of_the_batch_to_the_last_bit(served: Any, raw: httpx.Client, now: Any) -> None:
    ids = [row["account_id"] for row in served.harbour.rows["accounts"]]
    answers = {item["account_id"]: item for item in asked(raw, ids)}
    with database.open(served.harbour.settings) as opened:
        for target, horizon in (("churn", 30), ("churn", 90), ("upsell", 90)):
            batch = opened.latest_scores(now, target, horizon)
            assert len(batch) == len(ids)
            for row in batch:
                answer = answers[row["account_id"]]
                found = answer["scores"][f"{target}_{horizon}d"]
                assert found["score"] == row["score"]
                assert (found["model"], found["in_cohort"]) == (row["model"], row["in_cohort"])
                assert (answer["value"], answer["catalog"]) == (row["value"], row["catalog"])
                if row["drivers"]:
                    assert [d["text"] for d in found["drivers"]] == [d["text"] for d in row["drivers"]]


def test_scores_of_a_posted_history_are_those_of_the_batch_to_the_last_bit(served: Any, raw: httpx.Client) -> None:
    histories = [served.harbour.posted(name) for name in SAMPLE]
    by_id = asked(raw, list(SAMPLE), detail="scores")
    assert asked(raw, histories, as_of="2024-01-01", detail="scores") == by_id
    assert asked(raw, histories[:1], as_of="2024-01-01", detail="scores") == by_id[:1]
    for one, other in zip(asked(raw, list(SAMPLE)), asked(raw, histories, as_of="2024-01-01"), strict=True):
        for name, score in one["scores"].items():
            same = ("score", "model", "base_rate", "in_cohort", "value", "drivers")
            assert {k: score[k] for k in same} == {k: other["scores"][name][k] for k in same}


def test_an_answer_says_what_it_rests_on(raw: httpx.Client) -> None:
    (answer,) = asked(raw, ["A-003"])
    assert answer["as_of"] == "2024-01-01T00:00:00Z"
    assert (answer["sources_seen"], answer["sources_missing"]) == (["tickets", "usage", "purchases"], [])
    score = answer["scores"]["churn_90d"]
    assert score["model"] == "churn-1"
    assert 0 < score["score"] < 1
    assert 1 <= len(score["drivers"]) <= 3
    (plain,) = asked(raw, ["A-003"], detail="scores")
    assert (plain["scores"]["churn_90d"]["score"], plain["as_of"]) == (score["score"], answer["as_of"])


def test_a_history_without_a_source_says_so_and_is_scored(served: Any, raw: httpx.Client) -> None:
    posted = served.harbour.posted("A-003")
    del posted["tickets"]
    partial, full = asked(raw, [posted, served.harbour.posted("A-004")], as_of="2024-01-01", detail="scores")
    assert (partial["sources_seen"], partial["sources_missing"]) == (["usage", "purchases"], ["tickets"])
    assert 0 < partial["scores"]["churn_90d"]["score"] < 1
    assert [full] == asked(raw, ["A-004"], detail="scores")


def test_bad_items_do_not_fail_the_good_ones_beside_them(served: Any, raw: httpx.Client) -> None:
    wrong = served.harbour.posted("A-005")
    wrong["usage"][2]["count"] = "many"
    young = {"account": {"account_id": "new", "created_at": "2024-01-01"}, "usage": []}
    items = ["A-003", "nobody", wrong, young, served.harbour.posted("A-006"), 7]
    good, unknown, bad, new, posted, neither = asked(raw, items, as_of="2024-01-01", detail="scores")
    assert good["account_id"] == "A-003"
    assert posted["scores"] == asked(raw, ["A-006"], detail="scores")[0]["scores"]
    assert (unknown["account_id"], unknown["error"]["code"]) == ("nobody", "unknown_account")
    assert (bad["account_id"], bad["error"]["code"]) == ("A-005", "invalid")
    assert bad["error"]["message"] == "usage.2.count: Input should be a valid integer"
    assert (new["account_id"], new["error"]["code"]) == ("new", "too_young")
    assert neither["error"]["code"] == "invalid"


def test_ids_at_another_instant_than_the_snapshots_are_refused_item_by_item(served: Any, raw: httpx.Client) -> None:
    by_id, posted = asked(raw, ["A-003", served.harbour.posted("A-003")], as_of="2023-12-01")
    assert by_id["error"]["code"] == "other_as_of"
    assert "2024-01-01" in by_id["error"]["message"]
    assert posted["as_of"] == "2023-12-01T00:00:00Z"


def test_an_accounts_page_has_its_scores_and_those_before(raw: httpx.Client) -> None:
    answer = raw.get("/v1/accounts/A-003").json()
    assert {k: answer[k] for k in answer if k not in {"history", "age_s"}} == asked(raw, ["A-003"])[0]
    assert {(h["target"], h["horizon"]) for h in answer["history"]} == {("churn", 30), ("churn", 90), ("upsell", 90)}
    for wrong in ("nobody", "a/b", "A-003%00", "%C3%A9" * 300):
        assert refusal(raw.get(f"/v1/accounts/{wrong}")) == (404, "unknown_account"), wrong


def test_the_models_page_names_the_models_and_the_snapshot(raw: httpx.Client) -> None:
    answer = raw.get("/v1/model").json()
    assert {t: m["version"] for t, m in answer["models"].items()} == {"churn": "churn-1", "upsell": "upsell-1"}
    assert answer["models"]["churn"]["horizons"] == [30, 90]
    assert answer["snapshot"] == {
        "as_of": "2024-01-01T00:00:00Z",
        "accounts": 80,
        "sources": ["tickets", "usage", "purchases"],
    }


def test_the_document_needs_no_key_and_names_the_routes(served: Any) -> None:
    response = httpx.get(f"{served.url}/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert {"/v1/score", "/v1/model", "/metrics"} <= set(response.json()["paths"])


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", "Basic Zm9v", "Bearer garrison_" + "0" * 12 + "_" + "0" * 64]
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/score"), ("GET", "/v1/model"), ("GET", "/v1/accounts/A-003")]
)
def test_without_a_live_key_there_is_nothing(served: Any, header: str | None, method: str, path: str) -> None:
    headers = {"authorization": header} if header else {}
    response = httpx.request(
        method, served.url + path, headers=headers, json={"accounts": ["A-003"]} if method == "POST" else None
    )
    assert refusal(response) == (401, "no_key")
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_is_refused_within_seconds(served: Any) -> None:
    with database.open(served.harbour.settings) as opened:
        key = auth.create_key(opened, "short-lived")
        with Client(served.url, key) as client:
            wait_until(lambda: _status(client) == 200)
            auth.revoke_key(opened, key.split("_")[1])
            wait_until(lambda: _status(client) == 401)


def _status(client: Client) -> int:
    try:
        client.model()
    except AnswerError as error:
        return error.status
    return 200


ACCOUNT = {"account_id": "x", "created_at": "2023-05-01"}
BODIES = {
    "nothing": b"",
    "rubbish": bytes(range(256)) * 20,
    "cut short": b'{"accounts": ["A-0',
    "no object": b"[1, 2]",
    "a number": b"7",
    "infinite": b'{"accounts": [Infinity], "as_of": NaN}',
    "too deep": b'{"accounts": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "unknown key": b'{"accounts": ["A-003"], "acounts": []}',
    "no accounts": b'{"accounts": []}',
    "too many": json.dumps({"accounts": ["A-003"] * 101}).encode(),
    "huge number": b'{"accounts": [' + b"9" * 5_000 + b"]}",
    "odd text": b'{"accounts": ["\\ud800"]}',
    "naive instant": b'{"accounts": ["A-003"], "as_of": "2024-01-01T10:00"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_malformed_body_is_the_senders_fault(name: str, raw: httpx.Client) -> None:
    status, code = refusal(raw.post("/v1/score", content=BODIES[name]))
    assert (status, code) in {(400, "no_json"), (422, "invalid"), (422, "too_many_rows")}


def test_items_out_of_all_proportion_cost_themselves_alone(raw: httpx.Client) -> None:
    big = {"used_at": "9999-12-31T23:59:59Z", "count": 2**63 - 1, "duration_s": 99999999999999.9999}
    old = {"used_at": "0001-01-01T00:00:00Z", "count": 2**63 - 1}
    items = [
        {"account": ACCOUNT, "usage": [big, old] * 50},
        {"account": ACCOUNT | {"account_id": "\x00", "region": "\x00" * 1_000}, "usage": []},
        {"account": {"account_id": "old", "created_at": "0001-01-01"}},
        "A-003",
    ]
    for as_of in (None, "9999-12-31", "0001-01-01", "2024-01-01"):
        response = raw.post("/v1/score", json={"accounts": items, "as_of": as_of})
        assert response.status_code == 200
        assert len(response.json()["results"]) == 4


def test_only_json_is_taken(raw: httpx.Client, served: Any) -> None:
    good = json.dumps({"accounts": ["A-003"]}).encode()
    for kind in (
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/vnd.bentoml+pickle",
        "text/plain",
        "",
    ):
        for body in (good, b"\x80\x04rubbish", b"--x\r\nrubbish"):
            assert refusal(raw.post("/v1/score", content=body, headers={"content-type": kind})) == (415, "no_json")
    key = {"authorization": f"Bearer {served.key}"}
    assert refusal(httpx.post(f"{served.url}/v1/score", headers=key, files={"f": b"x"})) == (415, "no_json")


def test_a_body_too_large_is_refused_while_it_is_read(raw: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(9 * 16):
            yield b" " * 2**16

    assert refusal(raw.post("/v1/score", content=b" " * (8 * 2**20 + 1))) == (413, "too_large")
    assert refusal(raw.post("/v1/score", content=endless())) == (413, "too_large")


def test_what_is_not_there_or_not_that_way_is_told_in_the_envelope(raw: httpx.Client) -> None:
    assert refusal(raw.get("/v2/score")) == (404, "not_found")
    assert refusal(raw.get("/")) == (404, "not_found")
    response = raw.get("/v1/score")
    assert refusal(response) == (405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_a_sender_that_hangs_up_harms_nobody(served: Any, raw: httpx.Client) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    lines = [
        "POST /v1/score HTTP/1.1",
        "host: x",
        f"authorization: Bearer {served.key}",
        "content-type: application/json",
    ]
    with socket.create_connection((host, int(port))) as line:
        line.sendall("\r\n".join([*lines, "content-length: 100", "", "{"]).encode())
    assert asked(raw, ["A-003"])[0]["account_id"] == "A-003"


def test_nobodys_mistake_left_a_trace_in_the_log(served: Any, raw: httpx.Client) -> None:
    raw.post("/v1/score", content=b"{")
    log = served.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert not re.search(r"A-\d\d\d|Boatyard|harbour\.example|garrison_[0-9a-f]", log)


def test_a_server_without_a_champion_comes_up_and_says_what_is_missing(
    own_harbour: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("GARRISON_CONFIG", str(own_harbour.config))
    from serving.api.bento import Garrison

    (own_harbour.settings.paths.mlruns / "small-harbour-promotions.jsonl").unlink()
    with database.open(own_harbour.settings) as opened:
        headers = {"authorization": f"Bearer {auth.create_key(opened, 'tests')}"}

    async def answers() -> list[httpx.Response]:
        service = Garrison.to_asgi()
        transport = httpx.ASGITransport(service)
        async with lifespan(service), httpx.AsyncClient(transport=transport) as client:
            score = await client.post("http://s/v1/score", json={"accounts": ["A-003"]}, headers=headers)
            return [score, *[await client.get(f"http://s{path}") for path in ("/healthz", "/readyz", "/v1/model")]]

    score, health, ready, without_key = asyncio.run(answers())
    gc.unfreeze()  # the service froze what this process holds
    assert health.status_code == 200
    assert ready.status_code == 503
    assert "no model of Small Harbour is champion yet" in ready.text
    assert refusal(score) == (503, "not_ready")
    assert "no model of Small Harbour is champion yet" in score.text
    assert refusal(without_key) == (401, "no_key")


@asynccontextmanager
async def lifespan(service: Any) -> AsyncIterator[None]:
    """What a server does with an application before its first request and after its last."""
    given: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(service({"type": "lifespan", "asgi": {"version": "3.0"}}, given.get, said.put))
    await given.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    yield
    await given.put({"type": "lifespan.shutdown"})
    assert (await said.get())["type"] == "lifespan.shutdown.complete"
    await task


def test_the_service_needs_no_mlflow_no_evidently_and_no_scikit_learn(harbour: Any) -> None:
    program = (
        "import sys, asyncio, serving.api.bento as s\n"
        "s.Garrison.to_asgi()\n"
        "s.Garrison.inner()\n"
        "from serving.api.app import HttpApp\n"
        "assert HttpApp.worker.state.problem is None, HttpApp.worker.state.problem\n"
        "heavy = {'mlflow', 'evidently', 'apprise', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {
        "GARRISON_CONFIG": str(harbour.config),
        "BENTOML_HOME": str(harbour.settings.var),
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lightgbm_imports_scikit_learn_unless_it_is_hidden_and_then_predicts_the_same() -> None:
    """The reason for `import_lightgbm`: once LightGBM leaves scikit-learn out by itself, it can go."""
    predict = (
        "import numpy as np, sys\n"
        "import lightgbm as lgb\n"
        "rows = np.arange(400.0).reshape(100, 4)\n"
        "params = {'objective': 'binary', 'min_data_in_leaf': 5, 'verbosity': -1, 'num_threads': 1}\n"
        "booster = lgb.train(params, lgb.Dataset(rows, rows[:, 0] > 200), 5)\n"
        "print('sklearn' in sys.modules, booster.predict(rows).tobytes().hex())\n"
    )
    hide = "from training.models.lightgbm_import import import_lightgbm\nimport_lightgbm()\n"
    outputs = [
        subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True).stdout.split()
        for program in (predict, hide + predict)
    ]
    (plain, plain_bytes), (hidden, hidden_bytes) = outputs
    assert (plain, hidden) == ("True", "False")
    assert plain_bytes == hidden_bytes


def test_a_taken_port_is_named_before_anything_starts(harbour: Any, serving: Any) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = serving("serve", "--config", harbour.config, "--port", port)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: port {port} on 127.0.0.1 is taken. Stop what listens there, or take another: --port {port + 1}.\n"
    )


def test_the_client_says_when_nobody_answers_or_somebody_else_does(served: Any, free_port: int) -> None:
    with (
        Client(f"http://127.0.0.1:{free_port}") as client,
        pytest.raises(GarrisonError, match=r"no answer from .*make serve"),
    ):
        client.model()
    with (
        Client(served.url + "/healthz?", served.key) as client,
        pytest.raises(GarrisonError, match="not Garrison's service"),
    ):
        client.model()


def test_ask_prints_the_scores_of_a_running_service(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARRISON_KEY", served.key)
    said = CliRunner().invoke(app, ["ask", "A-003", "nobody", "--url", served.url])
    assert [r["account_id"] for r in json.loads(said.stdout)] == ["A-003", "nobody"]
    request = json.dumps({"accounts": [served.harbour.posted("A-004")], "as_of": "2023-12-01"})
    said = CliRunner().invoke(app, ["ask", "-", "--url", served.url], input=request)
    assert json.loads(said.stdout)[0]["as_of"] == "2023-12-01T00:00:00Z"
