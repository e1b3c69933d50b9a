"""What a score means for the company: value, timing, recommendation.

In: scores and the account's history.
Out: money at stake, dates to expect, and what to do.
"""
