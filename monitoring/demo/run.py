"""The whole main job on sample data, by the commands a user would type; each is shown before it runs.

It only calls, waits, and says where to look.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

import httpx

from features.core.errors import GarrisonError
from features.settings.load import load_settings
from training.registry import promotion_log

_FOLDER = Path("var/demo")


@dataclass(frozen=True)
class DemoStory:
    """One sample company's demo.

    Args:
        sample: Arguments of `features sample`.
        config: Its TOML file.
        before: An instant to score at first, so that the alerts can tell a trend.
        now: The newest snapshot.
        truth: Churn score to hold against the sample's truth, such as churn_90d; None where there is none.
    """

    sample: tuple[str, ...]
    config: str
    before: str
    now: str
    truth: str | None


STORIES = {
    "tidewater": DemoStory(
        ("tidewater", "--accounts", "3000", "--months", "24"),
        "docs/examples/tidewater.toml",
        "2025-12-01",
        "2026-01-01",
        "churn_90d",
    ),
    "completejourney": DemoStory(
        ("completejourney",), "docs/examples/completejourney.toml", "2017-12-01", "2018-01-01", None
    ),
}


def run(name: str) -> None:
    """Run one story from nothing; a rerun trains anew and alerts nobody twice.

    Raises:
        GarrisonError: There is no such story, or a step failed; its own error stands above.
    """
    if name not in STORIES:
        raise GarrisonError(f"there is no demo {name!r}", hint=f"DATA is one of: {', '.join(STORIES)}")
    began = time.monotonic()
    story = STORIES[name]
    port = _free_port()
    environment = os.environ | {"GARRISON_SMTP_PORT": str(port)}
    # The samples' files lie where the settings look by default, whatever a user's shell says.
    environment.pop("GARRISON_DATA", None)
    demo = _Demo(story.config, environment)
    demo.prepare(story)
    demo.train(story)
    demo.score(story)
    demo.serve()
    demo.watch(story)
    if demo.churn_serves():
        demo.alert(story, port)
    else:
        demo.title("No alerts: no churn model has a signal, and none may be drawn from one without")
    demo.title(f"Done in {time.monotonic() - began:.0f} seconds. Where to look")
    for what, where in demo.places:
        print(f"  {what:<34}{where}")


class _Demo:
    """Runs the steps of one story."""

    def __init__(self, config: str, environment: Mapping[str, str]) -> None:
        self._config, self._environment = config, dict(environment)
        self._step = 0
        self.company = tomllib.loads(Path(config).read_text(encoding="utf-8"))["company"]["name"].lower()
        self.places: list[tuple[str, str]] = [("the company's settings", config)]

    def title(self, text: str) -> None:
        self._step += 1
        print(f"\n{'─' * 100}\n{self._step}. {text}\n", flush=True)

    def prepare(self, story: DemoStory) -> None:
        self.title("Sample data, read and checked as the company's TOML file says")
        self._call("features", "sample", *story.sample)
        self._call("features", "check", "--config", self._config)
        self._call("features", "build", "--as-of", story.now, "--out", f"{_FOLDER}/snapshots.parquet", with_config=True)
        self.places.append(("one snapshot of every account", f"{_FOLDER}/snapshots.parquet"))

    def train(self, story: DemoStory) -> None:
        self.title("Train churn and upsell; judge them on later months, beside simple baselines")
        self._call("training", "fit", "--json", f"{_FOLDER}/fit.json", with_config=True)
        if story.truth:
            self._call("features", "oracle", f"var/{self.company}/evaluation/{story.truth}.parquet", story.truth)
        self._call("training", "promote", "latest", "--reason", "the demo's first model", with_config=True)
        self.places.append(("figures for machines", f"{_FOLDER}/fit.json"))
        self.places.append(("runs, plots and models", "mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db"))

    def score(self, story: DemoStory) -> None:
        self.title("Score every account in batch: a month ago, then now")
        self._call("serving", "score", "--as-of", story.before, with_config=True)
        destination = f"{_FOLDER}/scores.csv"
        self._call("serving", "score", "--as-of", story.now, "--to", destination, with_config=True)
        print(*Path(destination).read_text(encoding="utf-8").splitlines()[:3], sep="\n")
        self.places.append(("scores for the CRM", destination))

    def serve(self) -> None:
        self.title("Start the HTTP service, ask it once, stop it")
        key = self._call("serving", "key", "create", "--name", "demo", with_config=True, secret=True).strip()
        account = self._riskiest()
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        log = _FOLDER / "service.log"
        command = self._command("serving", "serve", "--port", str(port), "--config", self._config)
        with _running(command, self._environment, log), httpx.Client(base_url=url) as http:
            _until_ready(http, log)
            self._environment["GARRISON_KEY"] = key
            self._call("serving", "ask", account, "--url", url)
        print("The service is stopped again. To start it for yourself: make serve CONFIG=" + self._config)
        self.places.append(("the service's log", str(log)))

    def watch(self, story: DemoStory) -> None:
        self.title("Watch: has the world drifted away from what the models learned? How good are the scores?")
        self._call("monitoring", "drift", "--as-of", story.now, with_config=True)
        self._call("monitoring", "performance", with_config=True)
        self.places.append(("the drift page", f"var/{self.company}/drift/"))

    def alert(self, story: DemoStory, port: int) -> None:
        self.title("Alerts: who enters risk, told to the owner by e-mail, once")
        mail = _FOLDER / "mail" / secrets.token_hex(4)
        self._call("monitoring", "alert", "--as-of", story.now, with_config=True)
        mailbox = self._command("monitoring", "mailbox", "--port", str(port), "--folder", str(mail))
        with _running(mailbox, self._environment, _FOLDER / "mailbox.log"):
            _until_listening(port)
            self._call("monitoring", "deliver", with_config=True)
            print("Once more: nobody gets the same alert twice.")
            self._call("monitoring", "deliver", with_config=True)
        _show_mail(mail)
        self._call("monitoring", "report", "--since", story.before, with_config=True)
        self.places.append(("the messages as they arrived", f"{mail}/"))
        self.places.append(("the manager's report", f"var/{self.company}/reports/"))

    def churn_serves(self) -> bool:
        """Whether a churn model was good enough to be promoted."""
        return "churn" in promotion_log.read_current(load_settings(self._config))

    def _riskiest(self) -> str:
        import pandas as pd

        scores = pd.read_csv(_FOLDER / "scores.csv", dtype={"account_id": str})
        first_score = scores.columns[2]
        eligible = scores[scores["in_cohort"]]
        return str(eligible.sort_values(first_score, ascending=False)["account_id"].iloc[0])

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", *arguments]

    def _call(self, *arguments: str, with_config: bool = False, secret: bool = False) -> str:
        """Run one command, shown as a user would type it; gives what it printed if that is secret."""
        typed = [*arguments, "--config", self._config] if with_config else list(arguments)
        print(f"$ python -m {shlex.join(typed)}", flush=True)
        done = subprocess.run(  # noqa: S603  # our own commands
            self._command(*typed),
            env=self._environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE if secret else None,
        )
        if done.returncode:
            raise GarrisonError(f"the demo stopped at: python -m {shlex.join(typed)}", found="its error stands above")
        print("(a key, shown this once; the demo keeps it to itself)" if secret else "", flush=True)
        return done.stdout if secret else ""


@contextlib.contextmanager
def _running(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """A server in the background, its output in a file; ended when done, with all that it started."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603  # our own commands
            command, env=dict(environment), stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def _until_ready(http: httpx.Client, log: Path) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 60:
        with contextlib.suppress(httpx.TransportError):
            if http.get("/readyz").status_code == httpx.codes.OK:
                print(f"The service was ready after {time.monotonic() - began:.1f} seconds.", flush=True)
                return
        time.sleep(0.1)
    raise GarrisonError("the service did not become ready within a minute", found=f"see {log}")


def _until_listening(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise GarrisonError(f"the demo's mail server does not listen on port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _show_mail(folder: Path) -> None:
    files = sorted(folder.glob("*.eml"))
    if not files:
        print("No message this time: every account at risk has an episode already, from an earlier demo.")
        return
    print(f"{len(files)} messages arrived. One of them, as its owner reads it:\n")
    message = message_from_bytes(files[0].read_bytes(), policy=policy.default)
    body = message.get_body(("plain", "html"))
    lines = [f"To: {message['To']}", f"Subject: {message['Subject']}", "", body.get_content() if body else ""]
    print("\n".join("    | " + line for line in "\n".join(lines).splitlines()))
