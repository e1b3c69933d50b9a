"""Recomputes a sample of the scores served, offline.

In: scores as they were served.
Out: how many differ from a batch.
"""
