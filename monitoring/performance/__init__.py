"""What scores should be worth, and were.

In: stored scores, and labels as they mature.
Out: estimated and realised figures of each cutoff.
"""
