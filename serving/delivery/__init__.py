"""Brings scores to where they are used: CRMs, databases, files.

In: rows of a batch run.
Out: the rows that changed, sent, and the status of each in the ledger.
"""
