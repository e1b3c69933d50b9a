"""`features check` on a sample company: nothing is wrong with a healthy one, and a harmed source is named."""

import json
import re
import shutil
from pathlib import Path

import pytest

from features.samples import tidewater
from tests.support.commands import run_command
from tests.support.harms import HARMS

TOML = Path(__file__).parents[3] / "docs" / "examples" / "tidewater.toml"
NOW = "2026-01-01"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "tidewater"
    tidewater.write_sample(folder, accounts=120, months=12)
    return folder


@pytest.fixture
def check(sample, tmp_path):
    """Check the sample with one harm, if any; gives what is printed, and the findings and page as written."""

    def run(harm=None, as_of=("--as-of", NOW)):
        shutil.copytree(sample, tmp_path / "tidewater")
        if harm:
            HARMS[harm].apply(tmp_path / "tidewater")
        # Twelve months are enough to learn what comes in thirty days.
        text = TOML.read_text(encoding="utf-8").replace("[30, 90]", "[30]").replace("[90]", "[30]")
        text = re.sub(r"(?m)^horizon +=.*$", "", text) + f'\n[paths]\nvar = "{tmp_path / "var"}"\n'
        (tmp_path / "garrison.toml").write_text(text, encoding="utf-8")
        words = ("check", *as_of, "--json", "check.json")
        done = run_command("features", *words, cwd=tmp_path, env={"GARRISON_DATA": str(tmp_path)})
        assert (done.returncode, done.stderr) == (0, "")
        page = (tmp_path / "var" / "tidewater" / "check.html").read_text(encoding="utf-8")
        return done.stdout, json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))["sources"], page

    return run


def test_a_healthy_company_is_as_it_always_was(check):
    printed, findings, page = check()
    assert f"Sources as of {NOW}: all as they always were\n" in printed
    assert findings == []
    assert "Yes: nothing stands out." in page
    assert "Every source is as it always was." in page


@pytest.mark.parametrize("name", ["half of usage lost", "usage delivered twice"])
def test_a_harmed_source_is_named_and_the_check_goes_on(check, name):
    printed, findings, page = check(name)
    harm = HARMS[name]
    assert [(f["source"], f["kind"]) for f in findings if f["severity"] == "hold"] == [(harm.source, *harm.kinds)]
    assert f"Sources as of {NOW}:\n  hold: {harm.source}: {findings[0]['text']}\n" in printed
    assert "Features from these sources" in printed
    assert "Not as they are: repair what comes first here." in page
    assert f'<span class="label">stops scores</span>: {harm.source}: ' in page


def test_without_an_instant_the_clock_counts_and_the_data_s_end_is_offered(check):
    printed, findings, _ = check(as_of=())
    assert {(f["source"], f["kind"], f["severity"]) for f in findings} == {
        (source, "silent", "hold") for source in ("usage", "tickets", "purchases")
    }
    assert "  hold: usage: last event 2025-12-31, silent for " in printed
    assert "; in 12 months never silent for a whole day\n" in printed
    assert f"All sources ended: to look from the data's end, add --as-of {NOW}\n" in printed
