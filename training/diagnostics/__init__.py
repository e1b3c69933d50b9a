"""Whether there is enough to learn from, and whether the model learned what it must not know.

In: labelled snapshots and a fitted model.
Out: findings with reasons, and the verdict leak_suspected.
"""
