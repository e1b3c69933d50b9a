"""Recomputes a sample of the scores served, offline.

In: answers as they were served.
Out: how many differ from what batch says.
"""
