"""The demo's look at the console: it signs in, keeps pages that show without it, and leaves nothing running."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from monitoring.demo.processes import NewProcesses
from monitoring.demo.run import open_demo
from monitoring.demo.stories import STORIES
from tests.support.browser import find_chromium, is_too_wide, open_browser, open_page
from tests.support.console import ConsoleCompany

ROOT = Path(__file__).parents[3]


@pytest.fixture
def shown(tmp_path, monkeypatch, capfd):
    """What the step prints, and the pages that it keeps."""
    company = ConsoleCompany(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var" / "demo").mkdir(parents=True)
    (tmp_path / "var" / "demo" / "scores.csv").write_text("account_id,in_cohort,churn_90d\nA,True,0.5\nD,True,0.4\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with NewProcesses() as processes, open_demo("garrison.toml", environment, processes) as demo:
        demo.show_console(replace(STORIES["tidewater"], manager="boss@harbour.test"))
    company.close()
    return capfd.readouterr().out, [Path(place) for _, place in demo.places if place.endswith(".html")]


def test_the_demo_prints_where_the_console_is_and_a_link_and_keeps_its_pages(shown):
    printed, pages = shown
    assert re.search(r"It answers at http://127\.0\.0\.1:\d+\.", printed)
    assert "make console CONFIG=garrison.toml" in printed
    # The link that is printed is not the one that was used.
    assert len(re.findall(r"http://127\.0\.0\.1:3001/sign-in/link/\S+", printed)) == 1
    assert [page.stem for page in pages] == ["portfolio", "inbox", "account", "report"][: len(pages)]
    assert len(pages) >= 3
    texts = [page.read_text() for page in pages]
    assert "Alder Works" in texts[0]
    assert "Alder Works" in texts[2]
    assert not any("<script" in text or re.search('value="[0-9a-f]{64}"', text) for text in texts)
    with open_browser(find_chromium()) as browser:
        page = open_page(browser)
        for file in pages:
            page.goto(file.absolute().as_uri())
            assert page.evaluate("getComputedStyle(document.querySelector('.bar')).display") == "flex", file
            assert not is_too_wide(page)
        page.context.close()
