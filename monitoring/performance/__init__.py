"""Estimate and measure the performance of stored scores.

In: stored scores, and labels as they mature.
Out: estimated and realised figures of each cutoff.
"""
