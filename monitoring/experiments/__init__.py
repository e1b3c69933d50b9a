"""Learns by lot whether alerts save accounts.

In: the lots that decided at the capacity line, and what became of the accounts.
Out: assignments, effects with bounds that hold at every look, and how long it takes to see one.
"""
