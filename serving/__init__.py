"""From models to scores where they are used.

In: champions and a `History`.
Out: scores over HTTP, in files, databases and CRMs, each with what it means.
"""
