"""Fits the targets of a company: one fit, a backtest, tuning, a cluster.

In: a `History`.
Out: fitted models with their evaluation.
"""
