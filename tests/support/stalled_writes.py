"""A state database in which writing a row of one table takes forever, so that the process that writes can be killed."""

import sqlite3
from contextlib import closing, contextmanager


@contextmanager
def stall_sqlite(company, table):
    """Writing the first row of the table takes forever; gives whether a process is writing."""
    file = company.settings.state.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as database:
        counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        database.execute("CREATE VIEW forever AS " + counting)
        stalling = "BEGIN SELECT count(*) FROM forever; END"
        database.execute(f"CREATE TRIGGER stall BEFORE INSERT ON {table} {stalling}")

        def is_writing():
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            database.execute("ROLLBACK")
            return False

        yield is_writing
        database.execute("DROP TRIGGER stall")
        database.execute("DROP VIEW forever")
