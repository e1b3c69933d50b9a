"""Decide whether a scored run may be acted on.

In: the stored scores, and what people decided.
Out: the verdict on the run, stored, and the decision that holds for it.
"""
