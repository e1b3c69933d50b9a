"""Compare accounts and scores with those of training.

In: the scored snapshot and the champion's reference sample.
Out: a verdict with reasons, and Evidently's page.
"""
