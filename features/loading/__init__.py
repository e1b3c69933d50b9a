"""Fetch tables from the systems that hold them, into Parquet files that are ordinary sources.

In: `[load.NAME]` of the TOML, secrets from the environment. Out: `var/COMPANY/load/NAME/TABLE/rows.parquet`, with the
columns as dlt names them (small letters and underscores, `outer__inner` for what was nested).
"""
