import json
import os
import socket
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import evidently
from monitoring.drift.evidently import judge_drift, write_drift_page
from serving.gate.binning import bin_column

EVIL = "</script><script>alert(1)</script>"


def frame(seed, rows, columns=20, **moved):
    """Columns of the shapes that features have; `moved` replaces some."""
    rng, made = np.random.default_rng(seed), {}
    for at in range(columns // 5):
        made[f"usage_{at}"] = rng.poisson(8, rows).astype(float)
        made[f"tickets_{at}"] = rng.poisson(0.2, rows).astype(float)
        made[f"spend_{at}"] = np.where(rng.random(rows) < 0.4, 0.0, rng.lognormal(6, 1.5, rows))
        made[f"csat_{at}"] = np.where(rng.random(rows) < 0.5, np.nan, rng.normal(4, 1, rows))
        made[f"plan_{at}"] = rng.choice(["basic", "plus", "pro", "rare"], p=[0.5, 0.3, 0.19, 0.01], size=rows)
    return pd.DataFrame(made | moved)


REFERENCE = frame(0, 5000)


@pytest.mark.parametrize("rows", [50, 100, 200, 2000])
def test_there_is_no_alarm_without_drift_however_few_the_rows(rows):
    reference = frame(1, 3000, columns=40)
    verdicts = [judge_drift(reference, frame(seed, rows, columns=40), seed=7) for seed in (11, 12)]
    assert [v.state for v in verdicts] == ["stable", "stable"]
    if rows == 50:  # the rule of thumb alone would have cried drift
        assert any(c.psi >= evidently.LEAST for v in verdicts for c in v.columns)


def test_two_small_samples_do_not_alarm_either():
    assert judge_drift(frame(2, 60), frame(3, 60), seed=7).state == "stable"


def test_a_shift_is_found_named_and_ranked():
    current = frame(5, 2000)
    current["spend_1"] *= 4
    current["usage_2"] *= 0.4
    verdict = judge_drift(REFERENCE, current, seed=7)
    assert verdict.state == "drifted"
    assert [c.name for c in verdict.drifted] == ["usage_2", "spend_1"]
    assert verdict.share == pytest.approx(2 / 20)
    assert "usage_2, spend_1" in verdict.advice
    assert verdict.columns[0].typical[0] > verdict.columns[0].typical[1]


def test_a_column_that_empties_half_way_has_drifted():
    current = frame(6, 2000)
    current.loc[current.index % 2 == 0, "usage_0"] = np.nan
    verdict = judge_drift(REFERENCE, current, seed=7)
    assert [c.name for c in verdict.drifted] == ["usage_0"]
    assert verdict.drifted[0].missing == (0.0, 0.5)


def test_unseen_categories_are_counted():
    current = frame(7, 2000)
    current.loc[current.index % 4 == 0, "plan_0"] = "ultra"
    moved = {c.name: c for c in judge_drift(REFERENCE, current, seed=7).columns}
    assert moved["plan_0"].unseen == pytest.approx(0.25)
    assert moved["plan_0"].drifted
    assert moved["plan_1"].unseen == 0


def test_scores_that_move_are_drift_of_their_own():
    rng = np.random.default_rng(0)
    scores = {"score churn 90 days": (rng.beta(2, 20, 5000), rng.beta(4, 20, 2000))}
    verdict = judge_drift(REFERENCE, frame(8, 2000), seed=7, scores=scores)
    assert [(c.name, c.kind) for c in verdict.drifted] == [("score churn 90 days", "score")]
    assert verdict.advice.startswith("The scores themselves moved")


def test_what_is_broken_is_told_and_the_rest_still_compared():
    current = frame(9, 500).drop(columns="usage_0").assign(spend_0=np.inf, csat_0=np.nan, plan_0=1.0, extra=1.0)
    verdict = judge_drift(REFERENCE, current, seed=7)
    assert verdict.state == "broken"
    assert {f.column for f in verdict.findings if f.breaks} == {"usage_0", "spend_0", "csat_0", "plan_0"}
    assert {f.column for f in verdict.findings if not f.breaks} == {"extra"}
    assert len(verdict.columns) == 16
    assert "usage_0" in verdict.advice


@pytest.mark.parametrize("sides", [(REFERENCE, REFERENCE[:0]), (REFERENCE[:0], REFERENCE)])
def test_no_rows_are_broken_and_have_a_page(sides, tmp_path):
    verdict = judge_drift(*sides, seed=7)
    assert verdict.state == "broken"
    text = write_drift_page(verdict, *sides, file=tmp_path / "p.html", heading="H", seed=7).read_text()
    assert "has no rows" in text


def test_the_verdict_is_the_same_every_time_and_plain_enough_for_json(monkeypatch):
    monkeypatch.setattr(evidently, "ROWS", 400)  # so that it samples
    found = [judge_drift(REFERENCE, frame(10, 900), seed=7) for _ in range(2)]
    assert found[0] == found[1]
    assert (found[0].rows, found[0].reference_rows) == (400, 400)
    assert judge_drift(REFERENCE, frame(10, 900), seed=8) != found[0]
    assert json.loads(json.dumps(found[0].as_dict(), allow_nan=False))["state"] == "stable"


class _Page(HTMLParser):
    """What a page would fetch, and its text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.text, self.scripts, self._tag = [], "", 0, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._tag, self.scripts = tag, self.scripts + (tag == "script")
        self.fetched += [v for k, v in attrs if k in {"src", "href", "srcset", "data"} and v]

    def handle_endtag(self, _):
        self._tag = None

    def handle_data(self, data):
        if self._tag not in {"script", "style"}:
            self.text += data
        elif self._tag == "style":
            assert "url(http" not in data
            assert "@import" not in data


def test_the_page_stands_by_itself_and_names_what_drifted(tmp_path, monkeypatch):
    def refused(*args, **_):
        raise AssertionError(f"something tried to connect: {args}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    current = frame(11, 1500)
    current["usage_2"] *= 0.4
    current.loc[current.index % 3 == 0, "plan_1"] = EVIL
    reference = REFERENCE.copy()
    reference.loc[reference.index % 5 == 0, "plan_1"] = EVIL
    reference[EVIL], current[EVIL] = "x", np.where(current.index % 2, "x", "y")
    verdict = judge_drift(reference, current, seed=7)
    file = write_drift_page(verdict, reference, current, file=tmp_path / "a" / "p.html", heading="Harbour <b>", seed=7)
    text = file.read_text()
    shown = _Page(text)
    assert shown.fetched == []
    assert "Harbour <b>" in shown.text
    assert "Drifted: 3 of 21 columns moved" in shown.text
    assert "usage_2: PSI" in text
    assert "tickets_0: PSI" not in text  # Evidently draws what drifted, and no more
    assert all(name in shown.text for name in reference)
    assert EVIL not in text
    assert len(text) < 6e6


def test_the_page_of_a_stable_snapshot_shows_the_most_moved(tmp_path):
    current = frame(12, 1500)
    verdict = judge_drift(REFERENCE, current, seed=7)
    text = write_drift_page(verdict, REFERENCE, current, file=tmp_path / "p.html", heading="H", seed=7).read_text()
    assert "Stable: none of 20 columns moved" in text
    assert [f"{c.name}: PSI" in text for c in verdict.columns] == [True] * 6 + [False] * 14
    assert list(tmp_path.iterdir()) == [tmp_path / "p.html"]


def test_evidently_may_not_report_usage():
    judge_drift(REFERENCE[:300], REFERENCE[300:600], seed=7)
    from evidently.telemetry import event_logger

    assert os.environ["DO_NOT_TRACK"] == "1"
    assert not event_logger.is_enabled()


def test_evidentlys_inner_parts_give_what_its_public_report_gives():
    """Three inner names of Evidently are used, and pinned here, since the public way costs too much.

    `psi_stat_test`: the public report draws a figure for each column, and takes eight times as long: 16 s against
    2 s for 150 columns of 20,000 rows. `render_widgets` and `group_widget`: the public page puts a counter of its own
    beside each figure, and has no way to leave it out.
    """
    from evidently.core.metric_types import render_widgets
    from evidently.legacy.renderers.html_widgets import group_widget

    pair = bin_column(REFERENCE["usage_0"], frame(21, 800)["usage_0"] * 2)
    public = next(iter(evidently._run_report({"usage_0": pair}, {"usage_0": 0.1}).dict()["metrics"]))
    assert evidently._compute_psi({"usage_0": pair}) == {"usage_0": pytest.approx(float(public["value"]))}
    assert callable(render_widgets)
    assert callable(group_widget)
