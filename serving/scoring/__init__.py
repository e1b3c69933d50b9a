"""Scores accounts and says what a score means.

In: snapshots and champions.
Out: scores, drivers, advice, tiers; the score table and the stored snapshot.
"""
