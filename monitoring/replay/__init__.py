"""Replay: what the alerts would have done over a past time.

In: past runs of the state database, the history, models of then.
Out: messages, what came true, value caught and missed, and the hours that owners should have for alerts.
"""
