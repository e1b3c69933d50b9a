"""Measures how good scores are: metrics with intervals, baselines, profit, segments, comparisons.

In: scores and labels of a test period.
Out: figures, plots, and the verdict signal or no_signal.
"""
