"""Checks of the data and of the features themselves.

In: a `History`.
Out: the data report, suspected leaks, and the verdict of the leak tests.
"""
