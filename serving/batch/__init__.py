"""Scores all accounts at once, in this process or on Spark.

In: a `History` and champions.
Out: the score table, the stored snapshot, rows for a destination.
"""
