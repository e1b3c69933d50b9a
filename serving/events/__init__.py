"""Events posted over HTTP: their log, and the scores that they change.

In: typed events.
Out: rows in the state database, and scores that know of them.
"""
