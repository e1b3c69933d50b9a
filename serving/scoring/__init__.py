"""Scores accounts and says what a score means.

In: snapshots and champions.
Out: scores, drivers, advice; the score table and the stored snapshot.
"""
