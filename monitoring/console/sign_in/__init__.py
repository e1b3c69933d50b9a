"""Recognises people: links by mail, OpenID Connect, sessions, roles, and which rows each may see.

In: the settings of roles and of the provider, accounts' owners.
Out: the person of a request, and the filter of the rows that they may see.
"""
