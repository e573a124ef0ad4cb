"""Checks and locks of SQLite files, and transactions on a connection in autocommit mode."""

import errno
import fcntl
import os
import sqlite3
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from exporter.errors import StoreError

APPLICATION_ID: Final = 0x43424558
"""``CBEX``; marks files of the exporter."""

DAMAGED: Final = "the file is damaged; restore a copy or name another state.path"

NO_LOCKS: Final = (
    "its file system has no file locks (NFS needs its lock service); name a state.path on another one"
)

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_APPLICATION_ID_AT: Final = slice(68, 72)
"""Offsets in SQLite's file format: https://www.sqlite.org/fileformat2.html#the_database_header"""

_LOCK_BYTES: Final = (0x40000000, 512)
"""Range that SQLite locks: https://www.sqlite.org/src/file/src/os.h (``PENDING_BYTE``)."""

_MEANINGS: Final = {
    sqlite3.SQLITE_BUSY: "another process has it open; one exporter for each state.path",
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the file, or its folder, which also holds the -wal, is read-only",
}


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end, or roll back on any exception.

    Raises:
        sqlite3.Error: nothing is committed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: str, doing: str) -> Iterator[None]:
    """Turn errors of SQLite and of the system into `StoreError`.

    Raises:
        StoreError: with the path, ``doing``, and the cause.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise StoreError(f"{path}: {doing}: {_MEANINGS.get(code, error)}") from None
    except OSError as error:
        raise StoreError(f"{path}: {doing}: {error.strerror}") from None


def pragma(connection: sqlite3.Connection, text: str) -> int:
    """Execute a pragma, and return its value if it is a number, else 0."""
    row = connection.execute(f"PRAGMA {text}").fetchone()
    return row[0] if row and isinstance(row[0], int) else 0


def create_private(path: str) -> int:
    """Open a file, created if necessary and then readable by its owner only; return its descriptor.

    Raises:
        StoreError: it cannot be opened.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        folder = Path(path).absolute().parent
        hint = "" if folder.is_dir() else f"; there is no folder {folder}"
        raise StoreError(f"{path}: cannot open: {error.strerror}{hint}") from None


def refuse_foreign(path: str) -> None:
    """Check a file before SQLite opens it and possibly applies or deletes the files beside it.

    Raises:
        StoreError: the file does not belong to the exporter.
        OSError: it cannot be read.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if _has_wal(path):
            raise StoreError(
                f"{path}: the file is missing, but not its -wal; restore the file, or remove the -wal too"
            ) from None
        return
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: this is not a regular file; name another state.path")
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        if _has_wal(path):
            raise StoreError(f"{path}: the file is empty, but not its -wal; restore a copy, or remove both")
        return
    if not header.startswith(_MAGIC):
        raise StoreError(f"{path}: this is not a SQLite file; name another state.path")
    if len(header) < _HEADER_BYTES:
        raise StoreError(f"{path}: {DAMAGED}")
    if int.from_bytes(header[_APPLICATION_ID_AT]) != APPLICATION_ID:
        raise StoreError(f"{path}: this SQLite file belongs to another program; name another state.path")


def _has_wal(path: str) -> bool:
    with suppress(FileNotFoundError):
        return os.stat(f"{os.path.realpath(path)}-wal").st_size > 0
    return False


def lock_holder(path: str) -> int | None:
    """Return the process that holds a lock on a database, without locking anything.

    Not for a file that this process has open: its own lock would be released.

    Raises:
        OSError: the file cannot be read, or its file system has no locks.
    """
    start, length = _LOCK_BYTES
    with open(path, "rb") as file:
        if sys.platform == "darwin":
            query = struct.pack("qqihh", start, length, 0, fcntl.F_RDLCK, os.SEEK_SET)
            _, _, holder, kind, _ = struct.unpack("qqihh", fcntl.fcntl(file, fcntl.F_GETLK, query))
        else:
            query = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
            kind, _, _, _, holder = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, query))
    return None if kind == fcntl.F_UNLCK else int(holder)


def can_lock(file: int) -> bool:
    """Return whether the file system of an open file has locks; releases this process's lock on it."""
    start, length = _LOCK_BYTES
    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, length, start)
        fcntl.lockf(file, fcntl.LOCK_UN, length, start)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    return True
