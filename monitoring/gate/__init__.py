"""Decide whether a scored run may be acted on.

In: the ages of the sources and the drift verdict.
Out: an open or a closed gate, with reasons.
"""
