"""Judge each scored run: ok, watch or hold, with the reasons.

In: the sources' health, the scored snapshot, its scores, and the last accepted run.
Out: a verdict, stored; deliveries and alerts ask for it.
"""
