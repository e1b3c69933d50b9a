"""Estimate whether alerts save accounts: treated accounts against held out ones.

In: accounts and outcomes.
Out: assignments, and effects with intervals.
"""
