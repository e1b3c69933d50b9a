from __future__ import annotations

import os

import pytest

from monitoring.demo.screenshots import find_browser, take_screenshot


def test_a_screenshot_is_a_png_of_the_window(tmp_path):
    browser = find_browser()
    if browser is None:
        assert os.environ.get("CI") != "true", "CI installs Chromium"
        pytest.skip("no Chromium is installed")
    page, image = tmp_path / "page.html", tmp_path / "deep" / "page.png"
    page.write_text("<title>One</title><h1>One</h1>", encoding="utf-8")
    assert take_screenshot(browser, page, image, width=360, height=200)
    head = image.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (360, 200)


def test_a_browser_that_can_not_start_takes_no_screenshot(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<h1>One</h1>", encoding="utf-8")
    assert not take_screenshot(str(tmp_path / "no-browser"), page, tmp_path / "page.png", width=360, height=200)
