"""From raw tables to canonical ones: mapping, redaction, validation and quarantine, identity, posted events.

In: files and databases as the TOML names them, and events posted over HTTP.
Out: a `History`, the checked canonical tables of a company, in a DuckDB file opened read-only. `History.open(settings)`
opens it, `history.query(sql)` and `history.open_cursor()` read it, `history.tables` names the tables that there are.
"""
