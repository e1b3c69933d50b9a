"""The examples in the docstrings of training's public entry points run, and give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "training.decisions.timing",
        "training.decisions.value",
        "training.estimators.classifier",
        "training.evaluation.evaluate",
        "training.evaluation.headline",
        "training.registry.card_text",
    ],
)
def test_the_examples_in_the_docstrings_run(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
