"""Hold what every other room uses: the data contract, errors, timestamps, atomic files and HTML pages.

In: nothing of Garrison's.
Out: types and small functions; no room below this one.
"""
