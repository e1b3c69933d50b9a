"""Streams, windows and formulas of one account executed as plain Python, with the same bits as SQL.

In: Ibis expressions of the catalog and an account's rows, as dicts.
Out: numbers, NaN for null.
"""
