"""Define what features are made of: streams of dated facts, measures in windows, formulas, plays.

In: the data contract.
Out: the vocabulary of the catalog, the visibility rule, and their form in SQL.
"""
