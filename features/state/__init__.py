"""Keep the state database: its tables, connections, migrations and named locks.

In: the URL in the settings, SQLite or PostgreSQL.
Out: an open database at the newest revision, for every other room.
"""
