"""What a model is: its parts, how they are trained, stored and applied.

In: rows of features with labels.
Out: calibrated probabilities of each horizon.
"""
