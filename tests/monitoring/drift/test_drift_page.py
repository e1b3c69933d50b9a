import base64
import gzip
import importlib.util
import json
import os
import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import monitoring
from monitoring.drift import evidently
from monitoring.drift.comparison import judge_drift
from monitoring.drift.drift_page import _draw, find_drift_pages, write_drift_page
from serving.gate.binning import BinnedColumn, bin_column

EVIL = "</script><script>alert(1)</script>"
LIMIT = 2 * 2**20


def frame(seed, rows):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "usage_30d": rng.poisson(8, rows).astype(float),
            "spend_90d": np.where(rng.random(rows) < 0.4, 0.0, rng.lognormal(6, 1.5, rows)),
            "plan": rng.choice(["basic", "plus", EVIL], rows),
        }
    )


REFERENCE = frame(0, 1500)
SCORES = {"score churn 90 days": (np.linspace(0, 0.5, 1500), np.linspace(0, 0.5, 400))}


class _Page(HTMLParser):
    """What a page would fetch, its text outside of scripts, and its scripts."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.text, self.scripts, self._tag = [], "", [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.fetched += [v for k, v in attrs if k in {"src", "href", "srcset", "data"} and v]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, _):
        self._tag = None

    def handle_data(self, data):
        if self._tag == "script":
            self.scripts[-1] += data
        elif self._tag != "style":
            self.text += data


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """The page of a snapshot that moved, with names made to break out of it; nothing may connect meanwhile."""
    current = frame(1, 400)
    current["usage_30d"] *= 0.4
    reference = REFERENCE.assign(**{EVIL: "x"})
    current[EVIL] = np.where(current.index % 2, "x", "<b>y</b>")

    def refuse(*args, **_):
        raise AssertionError(f"something tried to connect: {args}")

    file = tmp_path_factory.mktemp("drift") / "a" / "2026-01-01-churn.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        verdict = judge_drift(reference, current, seed=7)
        write_drift_page(verdict, reference, current, file=file, heading="Harbour <b>", seed=7)
    return file


def test_the_page_stands_by_itself_is_small_and_names_what_moved(moved):
    text = moved.read_text()
    page = _Page(text)
    assert page.fetched == []
    assert len(text) < LIMIT
    assert "Harbour <b>" in page.text
    assert "watch: 2 of 4 columns moved" in page.text
    assert {"usage_30d", "spend_90d", "plan", EVIL} <= {line.strip() for line in page.text.splitlines()}


def test_no_name_breaks_out_of_the_page_or_of_evidentlys_report(moved):
    text = moved.read_text()
    assert EVIL not in text
    assert "<b>y</b>" not in text
    page = _Page(text)
    assert len(page.scripts) == 2
    report = gzip.decompress(base64.b64decode(page.scripts[0], validate=True)).decode()
    assert EVIL not in report
    assert "alert(1)" in report
    assert "usage_30d" in report
    assert "spend_90d" not in report  # Evidently draws what moved, and no more
    assert report.count("</body>") == 1


def test_evidentlys_figures_stand_beside_the_page(moved):
    stored = json.loads(moved.with_suffix(".json").read_text())
    assert stored["verdict"]["state"] == "watch"
    moved_columns = {c["name"]: c["psi"] for c in stored["verdict"]["columns"] if c["drifted"]}
    metrics = stored["evidently"]["metrics"]
    assert {m["config"]["column"].replace("\u2039", "<").replace("\u203a", ">") for m in metrics} == set(moved_columns)
    assert sorted(m["value"] for m in metrics) == pytest.approx(sorted(moved_columns.values()))
    assert sorted(p.name for p in moved.parent.iterdir()) == ["2026-01-01-churn.html", "2026-01-01-churn.json"]


def test_the_page_of_a_healthy_snapshot_shows_the_scores(tmp_path):
    current = frame(12, 400)
    verdict = judge_drift(REFERENCE, current, seed=7, scores=SCORES)
    file = tmp_path / "p.html"
    text = write_drift_page(verdict, REFERENCE, current, file=file, heading="H", seed=7, scores=SCORES).read_text()
    assert "ok: Accounts and scores look like those the model learned from." in text
    assert "<h2>The scores</h2>" in text
    # Evidently takes seconds to import: it is asked about what moved.
    assert json.loads(file.with_suffix(".json").read_text())["evidently"] is None


def test_without_evidently_the_verdict_has_its_page_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(evidently, "find_spec", lambda _: None)
    current = frame(1, 400) * 1
    current["usage_30d"] *= 0.4
    verdict = judge_drift(REFERENCE, current, seed=7)
    file = tmp_path / "p.html"
    text = write_drift_page(verdict, REFERENCE, current, file=file, heading="H", seed=7).read_text()
    assert "Evidently is not installed" in text
    assert "usage_30d" in text
    assert json.loads(file.with_suffix(".json").read_text())["evidently"] is None


def test_a_snapshot_without_rows_has_a_page(tmp_path):
    verdict = judge_drift(REFERENCE, REFERENCE[:0], seed=7)
    text = write_drift_page(
        verdict, REFERENCE, REFERENCE[:0], file=tmp_path / "p.html", heading="H", seed=7
    ).read_text()
    assert "hold: 1 thing is wrong with the newest snapshot" in text
    assert "has no rows" in text


def test_evidently_computes_the_same_index_and_may_not_report_usage():
    pair = bin_column(REFERENCE["usage_30d"], frame(21, 800)["usage_30d"] * 2)
    report = evidently.run_evidently({"usage_30d": pair}, {"usage_30d": 0.1})
    assert report.psi == pytest.approx({"usage_30d": pair.psi})
    from evidently.telemetry import event_logger

    assert os.environ["DO_NOT_TRACK"] == "1"
    assert not event_logger.is_enabled()


def test_only_public_names_of_evidently_are_used_in_one_file():
    uses = {
        file.name: re.findall(r"^\s*(?:from|import) (evidently[.\w]*)", file.read_text(), re.MULTILINE)
        for file in Path(monitoring.__file__).parent.rglob("*.py")
    }
    assert {name: modules for name, modules in uses.items() if modules} == {
        "evidently.py": ["evidently", "evidently.metrics"]
    }


def test_pages_of_one_day_are_found_by_target(moved):
    day = pd.Timestamp("2026-01-01", tz="UTC")
    assert find_drift_pages(moved.parent, day) == {"churn": moved}
    assert find_drift_pages(moved.parent, day + pd.Timedelta(days=1)) == {}


def test_edges_of_bins_are_numbers_that_people_read():
    def label(name, kind):
        column = BinnedColumn((np.zeros(1, int), np.zeros(1, int)), (f"01 {name}", "02 missing"), np.ones((2, 2), int))
        return _draw("score", column, kind).bins[0].label

    assert label("2.19e-05 to 0.0434", "score") == "0.0022 % to 4.3 %"
    assert label("below -4.94e-324", "number") == "below 0"
    assert label("-0.05 to 0.00714", "number") == "-0.05 to 0.00714"
    assert label("plan 2.5e-30", "category") == "plan 2.5e-30"
