"""Open and close episodes of risk, and write the messages to the accounts' owners.

In: stored scores and thresholds.
Out: episodes opened, updated and closed, and messages in the outbox.
"""
