"""Sends what the outbox holds.

In: pending messages.
Out: e-mails or files, and the state of each message.
"""
