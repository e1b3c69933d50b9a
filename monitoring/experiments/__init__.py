"""Whether alerts save accounts: treated against held out.

In: accounts and outcomes.
Out: assignments, and effects with intervals.
"""
