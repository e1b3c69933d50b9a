"""Scores to drift verdicts, alerts and reports."""
