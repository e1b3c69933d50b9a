"""From raw tables to canonical ones: mapping, validation and quarantine, identity, posted events.

In: files and databases as the TOML names them, and events posted over HTTP.
Out: a `History`, the checked canonical tables of a company.
"""
