"""Write reports for managers.

In: stored scores and episodes.
Out: a page of who rose, fell, left, and what alerts did.
"""
