"""From a company's raw histories to features of its accounts, exact in time.

In: a company's TOML file and the tables that it names.
Out: snapshots, one row of features for each account and `as_of`.
"""
