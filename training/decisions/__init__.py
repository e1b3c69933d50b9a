"""Turns scores into money at stake, expected dates and recommendations.

In: scores and the account's history.
Out: money at stake, dates to expect, and what to do.
"""
