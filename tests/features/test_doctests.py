"""The examples in the docstrings of public entry points run, and give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    "features.core.auc",
    "features.core.errors",
    "features.core.redaction",
    "features.definitions.feature",
    "features.definitions.visibility_rule",
    "features.engine.snapshots",
    "features.settings.load",
    "features.sources.history",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_run(name):
    outcome = doctest.testmod(importlib.import_module(name))

    assert outcome.attempted > 0
    assert outcome.failed == 0
