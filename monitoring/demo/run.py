"""Run the whole main job on sample data by the commands that a user would type; each is printed before it runs."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shlex
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

from features.core.errors import GarrisonError
from features.settings.load import load_settings
from monitoring.demo import console_pages, excerpts, stories
from monitoring.demo.harmed_copy import HarmedCopy
from monitoring.demo.processes import Processes, find_free_port, open_processes, wait_until_listening, wait_until_ready
from monitoring.demo.screenshots import find_browser, take_screenshot
from monitoring.demo.stories import STORIES, DemoStory
from training.registry import promotion_log

if TYPE_CHECKING:  # pandas is slow to import
    import pandas as pd

# The width of the telephone that the letter is photographed on.
_PHONE = 420
# What stands in place of a secret that a command prints.
_HIDDEN = {
    "serving": "(an API key; it is shown only once, and the demo hides it)",
    "monitoring": "(a link; the demo uses it up itself)",
}


def run(name: str, *, accounts: int | None = None) -> None:
    """Run one sample company's demo from nothing; a rerun trains again and alerts nobody twice.

    Args:
        name: Of the sample company.
        accounts: Their number in a sample that is made up; by default the demo's own.

    Raises:
        GarrisonError: There is no such demo, or a step failed.
    """
    if name not in STORIES:
        raise GarrisonError(f"there is no demo {name!r}", hint=f"DATA is one of: {', '.join(STORIES)}")
    began = time.monotonic()
    story = STORIES[name]
    if accounts is not None and "--accounts" in story.sample:
        given = story.sample.index("--accounts") + 1
        story = replace(story, sample=(*story.sample[:given], str(accounts), *story.sample[given + 1 :]))
    port = find_free_port()
    environment = os.environ | {"GARRISON_SMTP_PORT": str(port)}
    # The samples' files lie where the settings look by default, whatever a user's shell says.
    environment.pop("GARRISON_DATA", None)
    with open_processes() as processes, open_demo(story.config, environment, processes) as demo:
        _tell(demo, story, port)
    demo.photograph()
    demo.title(f"Done in {time.monotonic() - began:.0f} seconds. Where to look")
    for label, place in demo.places:
        print(f"  {label:<32}{place}")


def _tell(demo: _Demo, story: DemoStory, port: int) -> None:
    """Take the steps of a story that its data allow; mail goes to this port."""
    demo.prepare(story)
    demo.train(story)
    champions = promotion_log.read_current(load_settings(Path(story.config)))
    if champions:
        demo.score(story)
        if "churn" in champions:
            demo.begin_what_takes_long(story)
        demo.serve()
        demo.watch(story)
    if "churn" in champions:
        demo.alert(story, port)
        if "tickets" in load_settings(Path(story.config)).tables:
            demo.map_journey(story)
            demo.search_problems(story)
        demo.report(story)
        if story.harmed:
            demo.hold(story, story.harmed)
        demo.show_experiment()
        if story.replayed:
            demo.replay(story)
        demo.show_console(story)
    else:
        demo.title("No alerts: no churn model beats the baselines, and alerts need one that does")


@contextlib.contextmanager
def open_demo(config: str, environment: Mapping[str, str], processes: Processes) -> Iterator[_Demo]:
    """Give a demo, and end what runs ahead of it when it ends."""
    lane = ThreadPoolExecutor(1)
    try:
        yield _Demo(config, environment, processes, lane)
    finally:
        lane.shutdown(cancel_futures=True)


class _Demo:
    """The steps of one sample company's demo, and the places to look that they leave."""

    def __init__(self, config: str, environment: Mapping[str, str], processes: Processes, lane: Executor) -> None:
        self._config, self._environment, self._processes = config, dict(environment), processes
        self._lane, self._ahead = lane, dict[tuple[str, ...], Future[tuple[int, str]]]()
        self._step = 0
        self.company = tomllib.loads(Path(config).read_text(encoding="utf-8"))["company"]["name"].lower()
        self.places: list[tuple[str, str]] = [("the company's settings", config)]

    def title(self, text: str) -> None:
        """Print the numbered title of a step."""
        self._step += 1
        print(f"\n{'─' * 80}\n{self._step}. {text}\n", flush=True)

    def prepare(self, story: DemoStory) -> None:
        """Write the sample company's tables, check them, and build a snapshot."""
        self.title("Make sample data, then read and check it as the company's TOML file says")
        self._call("features", "sample", *story.sample)
        self._call("features", "check", "--as-of", story.now, "--config", self._config)
        self._call(
            "features", "build", "--as-of", story.now, "--out", f"{stories.FOLDER}/snapshots.parquet", with_config=True
        )
        self.places.append(("the data report, a page", f"var/{self.company}/check.html"))
        self.places.append(("one snapshot of every account", f"{stories.FOLDER}/snapshots.parquet"))

    def train(self, story: DemoStory) -> None:
        """Train and promote models."""
        self.title("Train models of churn and upsell, and test them on later months beside baselines")
        self._call("training", "fit", "--json", f"{stories.FOLDER}/fit.json", with_config=True)
        if story.truth:
            self._call("features", "oracle", f"var/{self.company}/evaluation/{story.truth}.parquet", story.truth)
        promote = ("training", "promote", "latest", "--reason", "first model of the demo")
        if not self._try(*promote, "--config", self._config):
            print("The models trained now do not serve; champions of an earlier demo, if any, go on serving.")
        self.places.append(("figures for machines", f"{stories.FOLDER}/fit.json"))
        self.places.append(("runs, plots and models", "mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db"))

    def score(self, story: DemoStory) -> None:
        """Score all accounts twice, a month apart."""
        self.title("Score every account in batch: as of a month earlier, then as of today")
        self._call("serving", "score", "--as-of", story.before, with_config=True)
        destination = f"{stories.FOLDER}/scores.csv"
        self._call("serving", "score", "--as-of", story.now, "--to", destination, with_config=True)
        excerpts.show_row(self._riskiest(), destination)
        self.places.append(("scores for the CRM", destination))

    def begin_what_takes_long(self, story: DemoStory) -> None:
        """Begin commands of later steps now, one after another beside the steps before them."""
        tables = load_settings(Path(self._config)).tables
        commands = [*story.list_journey(), *story.list_problems()] if "tickets" in tables else []
        commands += story.list_replay()
        for command in commands:
            typed = (*command, "--config", self._config)
            run = functools.partial(self._processes.run, is_captured=True, with_errors=True)
            self._ahead[typed] = self._lane.submit(run, typed, dict(self._environment))

    def serve(self) -> None:
        """Start the HTTP service, ask it for one account's score, and stop it."""
        self.title("Serve: start the HTTP service, ask it for one account, stop it")
        key = self._call("serving", "key", "create", "--name", "demo", with_config=True, secret=True).strip()
        account = str(self._riskiest()["account_id"])
        port = find_free_port()
        url = f"http://127.0.0.1:{port}"
        log = stories.FOLDER / "service.log"
        command = ("serving", "serve", "--port", str(port), "--config", self._config)
        with self._start(command, log), httpx.Client(base_url=url) as http:
            wait_until_ready(http, log)
            self._environment["GARRISON_KEY"] = key
            self._call("serving", "ask", account, "--url", url)
        print("The service is stopped again. To start it for yourself: make serve CONFIG=" + self._config)
        self.places.append(("the service's log", str(log)))

    def watch(self, story: DemoStory) -> None:
        """Look for drift, and estimate the scores' performance."""
        self.title("Watch: do the accounts still look as in training? How good are the scores?")
        self._call("monitoring", "drift", "--as-of", story.now, with_config=True)
        self._call("monitoring", "performance", with_config=True)
        self._add_pages("drift, a page", f"drift/{story.now}-*.html")

    def alert(self, story: DemoStory, port: int) -> None:
        """Raise alerts, and deliver them to a local mailbox."""
        self.title("Alert: one e-mail to the owner of each account that enters risk")
        mail = stories.FOLDER / "mail" / secrets.token_hex(4)
        self._call("monitoring", "alert", "--as-of", story.now, with_config=True)
        self._call("monitoring", "who", str(self._riskiest()["account_id"]), with_config=True)
        mailbox = ("monitoring", "mailbox", "--port", str(port), "--folder", str(mail))
        with self._start(mailbox, stories.FOLDER / "mailbox.log"):
            wait_until_listening(port)
            self._call("monitoring", "deliver", with_config=True)
            print("The same command again: nobody gets the same alert twice.")
            self._call("monitoring", "deliver", with_config=True)
        if letter := excerpts.show_mail(mail):
            self.places.append(("that letter, a page", str(letter)))
        self.places.append(("the messages as they arrived", f"{mail}/"))

    def report(self, story: DemoStory) -> None:
        """Write the manager's report."""
        self.title("Report: what a manager reads at the month's end")
        self._call("monitoring", "report", "--period", story.before[:7], with_config=True)
        self._add_pages("the manager's report, a page", f"reports/{story.before}-{story.now}.html")

    def show_console(self, story: DemoStory) -> None:
        """Start the web console, look at its pages as a manager, and stop it."""
        self.title("The console: accounts, alerts and reports as pages that people sign in to")
        port, log = find_free_port(), stories.FOLDER / "console.log"
        url = f"http://127.0.0.1:{port}"
        command = ("monitoring", "console", "--port", str(port), "--config", self._config)
        link = ("monitoring", "console", "--link", story.manager)
        with self._start(command, log), httpx.Client(base_url=url, timeout=60) as http:
            console_pages.wait_until_healthy(http, log)
            print(f"It answers at {url}. A manager signs in by a one-time link, printed by this command:\n")
            console_pages.sign_in(http, self._call(*link, with_config=True, secret=True))
            paths = {
                "portfolio": "/portfolio",
                "inbox": "/inbox",
                "account": f"/accounts/{quote(str(self._riskiest()['account_id']), safe='')}",
            }
            if "/report" in console_pages.list_pages(http):
                paths["report"] = "/report"
            for page in console_pages.keep_pages(http, paths, stories.FOLDER / "console"):
                self.places.append((f"the console: {page.stem}", str(page)))
        print(f"The console is stopped again. To start it for yourself: make console CONFIG={self._config}")
        print("Then sign in by this link; it works once, for 15 minutes:\n")
        self._call(*link, with_config=True)

    def map_journey(self, story: DemoStory) -> None:
        """Find the topics of tickets, and say what the costliest go with."""
        self.title("The journey: what are tickets about, and which problems go with accounts that leave?")
        for command in story.list_journey():
            self._call(*command, with_config=True)
        self.places.append(("the map of topics, for machines", f"var/{self.company}/journey/map.json"))

    def search_problems(self, story: DemoStory) -> None:
        """Make problems of the topics, search them once, and say what serving costs."""
        self.title("Problems and costs: who had this before, what does serving cost, what is cheapest to do first?")
        for command in story.list_problems():
            self._call(*command, with_config=True)

    def hold(self, story: DemoStory, table: str) -> None:
        """Take six weeks of one source away: the run is held, nobody is alerted, and the overview says why."""
        self.title(f"Harm on purpose: {table} stops six weeks before. The run is held, and nobody is woken")
        harmed = HarmedCopy.make(self._config, table, until=datetime.fromisoformat(story.now) - timedelta(weeks=6))
        print(f"A copy of the company without its last six weeks of {table}: {harmed.config}\n")
        self._environment["GARRISON_DATA"] = str(harmed.samples.resolve())
        as_of = ("--as-of", story.now, "--config", str(harmed.config))
        held = [
            not self._try("serving", "score", "--to", f"{stories.FOLDER}/held.csv", *as_of),
            not self._try("monitoring", "alert", *as_of),
        ]
        self._environment.pop("GARRISON_DATA")
        if not all(held):
            raise GarrisonError("the demo's harmed run was not held", hint="Report this: a harmed source must be named")
        self._call("monitoring", "overview", "--config", str(harmed.config))
        self.places.append(("the overview of all verdicts", str(harmed.var / self.company / "monitoring.html")))

    def replay(self, story: DemoStory) -> None:
        """Show what the alerts of a past time would have done, whose outcomes are known."""
        self.title("Replay: what would the alerts of last summer have done? How many right, and how early?")
        for command in story.list_replay():
            self._call(*command, with_config=True)
        self.places.append(("the replay, a page", str(stories.REPLAY)))

    def show_experiment(self) -> None:
        """Say what the lots of the alerts have shown so far, and when more can be told."""
        self.title(
            "The experiment: lots held a few families out, so that it will be known whether alerts save accounts"
        )
        page = str(stories.FOLDER / "experiment.html")
        self._call("monitoring", "experiment", "status", "--page", page, with_config=True)
        self.places.append(("the experiment, a page", page))

    def photograph(self) -> None:
        """Take a screenshot of each page that the demo made, if a Chromium is installed."""
        browser = find_browser()
        pages = [Path(place) for _, place in self.places if place.endswith(".html")]
        if browser is None or not pages:
            return
        images = stories.FOLDER / "images"
        for page in pages:
            width = _PHONE if page.stem == excerpts.LETTER.stem else 1280
            take_screenshot(browser, page, images / f"{page.parent.name}-{page.stem}.png", width=width, height=1000)
        self.places.append(("pictures of these pages", f"{images}/"))

    def _add_pages(self, label: str, pattern: str) -> None:
        """Add the pages that a command wrote to the places to look."""
        self.places += [(label, str(page)) for page in sorted(Path("var", self.company).glob(pattern))]

    def _riskiest(self) -> pd.Series:
        """Return the row of the account in the cohort with the highest first score."""
        import pandas as pd

        scores = pd.read_csv(stories.FOLDER / "scores.csv", dtype={"account_id": str})
        eligible = scores[scores["in_cohort"]]
        return eligible.sort_values(scores.columns[2], ascending=False).iloc[0]

    def _start(self, arguments: Sequence[str], log: Path) -> AbstractContextManager[None]:
        """Run a server while the context lasts."""
        return self._processes.run_in_background(arguments, self._environment, log)

    def _call(self, *arguments: str, with_config: bool = False, secret: bool = False) -> str:
        """Print and run one command; return its output if that is secret.

        Raises:
            GarrisonError: It failed.
        """
        typed = [*arguments, "--config", self._config] if with_config else list(arguments)
        status, output = self._run(typed, secret=secret)
        if status:
            raise GarrisonError(f"the demo stopped at: python -m {shlex.join(typed)}", found="its error stands above")
        print(_HIDDEN.get(arguments[0], "") if secret else "", flush=True)
        return output

    def _try(self, *arguments: str) -> bool:
        """Print and run one command; return whether it succeeded."""
        status, _ = self._run(arguments)
        print(flush=True)
        return status == 0

    def _run(self, arguments: Sequence[str], *, secret: bool = False) -> tuple[int, str]:
        print(f"$ python -m {shlex.join(arguments)}", flush=True)
        if ahead := self._ahead.pop(tuple(arguments), None):
            status, output = ahead.result()
            print(output, end="", flush=True)
            return status, output
        return self._processes.run(arguments, self._environment, is_captured=secret)
