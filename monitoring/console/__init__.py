"""Serves the web pages of owners, managers and the data team, and those behind the links of letters.

In: the newest score table, the state database, what other rooms report.
Out: pages; acts on accounts and episodes, each recorded with who did it.
"""
