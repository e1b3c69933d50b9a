"""Checks that there is enough to learn from, and that a model did not learn what it must not know.

In: labelled snapshots and a fitted model.
Out: findings with reasons, and the verdict leak_suspected.
"""
