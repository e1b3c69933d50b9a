"""Defines what is predicted: cohorts, labels and the split in time.

In: a `History` and the targets of the TOML file.
Out: labels of each account and `as_of`, and the plan of training and test.
"""
