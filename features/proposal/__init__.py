"""Proposal of a company's TOML file from its files or database: `python -m features init`.

In: a folder or a database, and recipes of known systems (`features.sources.recipes`). Out: the TOML as text, with the
reason beside each proposal, and what a person must confirm.
"""
