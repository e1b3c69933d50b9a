"""Episodes of risk: which accounts, which owner, which words.

In: stored scores and thresholds.
Out: episodes opened, updated and closed, and messages in the outbox.
"""
