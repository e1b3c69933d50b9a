"""Keeps feature files of companies working that were written before `features.definitions.feature` had this name."""

from features.definitions.feature import *  # noqa: F403
