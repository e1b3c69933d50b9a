"""Turns scores into money at stake, expected dates and recommendations, and measures what accounts are worth.

In: scores and the account's history.
Out: money at stake, dates to expect, what to do; the sides and cuts that tiers follow from.
"""
