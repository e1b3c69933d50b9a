"""Whether accounts and scores still look as they did in training.

In: the scored snapshot and the champion's reference sample.
Out: a verdict with reasons, and Evidently's page.
"""
