"""Send the messages of the outbox.

In: pending messages.
Out: e-mails or files, and the state of each message.
"""
