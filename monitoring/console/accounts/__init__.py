"""Lists accounts: any order and filter of the newest scores, saved views, files to take away, acts on accounts.

In: the newest score table, open episodes, bindings.
Out: pages of rows by key, sums, CSV and XLSX.
"""
