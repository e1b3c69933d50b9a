"""What every other room stands on: the data contract, errors, timestamps, files and pages.

In: nothing of Garrison's.
Out: types and small functions; no room below this one.
"""
