"""Builds snapshots: on DuckDB and NumPy by default, inside Spark or PostgreSQL on request.

In: a `History`, the catalog and instants to look from.
Out: snapshots as Arrow tables or data frames, cached by `as_of`.
"""
