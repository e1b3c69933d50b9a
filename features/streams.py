"""Keeps feature files of companies working that were written before `features.definitions.streams` had this name."""

from features.definitions.streams import *  # noqa: F403
