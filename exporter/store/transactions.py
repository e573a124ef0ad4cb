"""All or nothing, on a connection of sqlite3 that begins no transactions by itself."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep what is done within, or nothing; one that SQLite itself gave up is not rolled back twice.

    Raises:
        sqlite3.Error: nothing is kept.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
