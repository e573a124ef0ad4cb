"""Ledgers in one SQLite file: a row for each job, one transaction for each round of polls.

The file belongs to one process at a time: SQLite's exclusive lock is held as long as the store is open, and
ends with the process however it ends. A file that is torn, foreign or newer is refused and left as it is, and
so is the log of changes beside it (``-wal``). SQLite notices a torn page; a checksum in each row, what else
may have happened to it.

A file that is deleted or moved while the store is open is written again from what the store still reads. A
file that somebody has put in its place is left alone, and nothing is committed until that is sorted out.
"""

import errno
import fcntl
import os
import sqlite3
import stat
import struct
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from exporter.errors import StoreError
from exporter.ledger import JobLedger
from exporter.store.serialization import decode, encode
from exporter.store.transactions import transaction

APPLICATION_ID: Final = 0x43424558
"""``CBEX``; tells our files from others."""

_MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE ledgers (
        job_id TEXT PRIMARY KEY,
        polled_ms INTEGER NOT NULL,
        ledger TEXT NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE TABLE first_watched (job_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT",
)
"""Each brings the file from the schema version of its index to the next; ``user_version`` counts them."""

SCHEMA_VERSION: Final = len(_MIGRATIONS)

_DAMAGED: Final = "the file is damaged; restore a copy or name another state.path"

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_APPLICATION_ID_AT: Final = slice(68, 72)
"""Where SQLite's file format has them: https://www.sqlite.org/fileformat2.html#the_database_header"""

_LOCK_BYTES: Final = (0x40000000, 512)
"""Where SQLite locks a file: https://www.sqlite.org/src/file/src/os.h (``PENDING_BYTE``)."""

NO_LOCKS: Final = (
    "its file system has no file locks (NFS needs its lock service); name a state.path on another one"
)


class SqliteStore:
    """Ledgers in a file; at most one store for a file in one process, or its lock is lost.

    Args:
        path: the file; it is made, readable by its owner only, where there is none.

    Raises:
        StoreError: the file is in use, cannot be opened, or is not one of ours.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._real = os.path.realpath(path)
        except FileNotFoundError:
            raise StoreError(
                f"{path}: cannot open: the working directory is deleted; give an absolute state.path"
            ) from None
        self._file, self._connection = self._opened()

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """The ledgers that were committed for those jobs, or all; jobs without one are left out.

        Raises:
            StoreError: a row cannot be read; it names the job.
        """
        wanted = None if job_ids is None else frozenset(job_ids)
        ledgers = dict(held or {})
        # As bytes, so that text which is none can be told with its job.
        query = "SELECT CAST(job_id AS BLOB), polled_ms, CAST(ledger AS BLOB), checksum FROM ledgers"
        with self._explained("cannot read"):
            for key, polled_ms, row, checksum in self._connection.execute(query):
                job_id = key.decode(errors="replace")
                try:
                    if checksum != _checksum(key, polled_ms, row):
                        raise ValueError("it is damaged: its checksum is another")
                    if wanted is None or job_id in wanted:
                        ledgers[job_id] = decode(row)
                except ValueError as error:
                    raise StoreError(f"{self._path}: the ledger of job {job_id}: {error}") from None
        return ledgers

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Keep all of these, or none; nobody else can have written meanwhile.

        Raises:
            StoreError: none of them is kept.
        """
        self._refuse_if_gone()
        rows = [_row(job_id, ledger) for job_id, ledger in changed.items()]
        with self._transaction("cannot write"):
            self._connection.executemany("INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?, ?)", rows)
            self._forget_first_watched(changed)
        return {}

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """See that the file is still there; what it holds is what was committed.

        Raises:
            StoreError: it was not; the text says whether it is again.
        """
        self._refuse_if_gone()
        return 0

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """Keep the moment when jobs without a ledger were first watched, unless there is one.

        Raises:
            StoreError: no moment is kept that was not before.
        """
        self._refuse_if_gone()
        new = [(job_id, at_ms) for job_id in job_ids]
        with self._transaction("cannot write"):
            self._connection.executemany("INSERT OR IGNORE INTO first_watched VALUES (?, ?)", new)
            kept = dict(self._connection.execute("SELECT job_id, at_ms FROM first_watched"))
        return {job_id: kept[job_id] for job_id in job_ids}

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Drop what is kept of jobs that are not watched and were last polled before then; how many ledgers.

        Raises:
            StoreError: none is dropped.
        """
        with self._explained("cannot read"):
            dropped = self._stale("SELECT job_id FROM ledgers WHERE polled_ms < ?", before_ms, watched)
            left = self._stale("SELECT job_id FROM first_watched WHERE at_ms < ?", before_ms, watched)
        if dropped or left:
            with self._transaction("cannot write"):
                rows = [(job_id,) for job_id in dropped]
                self._connection.executemany("DELETE FROM ledgers WHERE job_id = ?", rows)
                self._forget_first_watched(left)
        return len(dropped)

    def close(self) -> None:
        """Let go of the file."""
        with suppress(StoreError):
            self._refuse_if_gone()
        self._connection.close()
        os.close(self._file)

    def _opened(self) -> tuple[int, sqlite3.Connection]:
        """The file, to be looked at, never to be closed before the connection: that would end its lock."""
        if not os.path.exists(self._real):
            refuse_strange(self._path)
        file = _create_private(self._path)
        try:
            refuse_strange(self._path)
            connection = sqlite3.connect(
                self._real, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=16
            )
            try:
                self._prepare(connection)
            except BaseException:
                # What is interrupted does not write the -wal into the file when it is closed.
                connection.interrupt()
                connection.close()
                raise
        except StoreError:
            can_lock = _can_lock(file)
            os.close(file)
            if not can_lock:
                raise StoreError(f"{self._path}: cannot open: {NO_LOCKS}") from None
            raise
        except BaseException:
            os.close(file)
            raise
        return file, connection

    def _forget_first_watched(self, job_ids: Iterable[str]) -> None:
        rows = [(job_id,) for job_id in job_ids]
        self._connection.executemany("DELETE FROM first_watched WHERE job_id = ?", rows)

    def _stale(self, query: str, before_ms: int, watched: Collection[str]) -> list[str]:
        rows = self._connection.execute(query, (before_ms,)).fetchall()
        return [job_id for (job_id,) in rows if job_id not in watched]

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with self._explained("cannot open"):
            _pragma(connection, "locking_mode = EXCLUSIVE")
            _pragma(connection, "synchronous = FULL")
            self._refuse_unusable(connection)
            with self._explained("cannot write"), transaction(connection):
                for index in range(_pragma(connection, "user_version"), SCHEMA_VERSION):
                    connection.execute(_MIGRATIONS[index])
                    _pragma(connection, f"user_version = {index + 1}")
                if _pragma(connection, "application_id") != APPLICATION_ID:
                    _pragma(connection, f"application_id = {APPLICATION_ID}")
            _pragma(connection, "journal_mode = WAL")

    def _refuse_unusable(self, connection: sqlite3.Connection) -> None:
        version = _pragma(connection, "user_version")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: written by a newer exporter (schema {version}, not {SCHEMA_VERSION}); "
                "start that version again, or name another state.path"
            )
        told = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if told and told[0] != "ok":
            raise StoreError(f"{self._path}: {_DAMAGED} ({told[0].splitlines()[-1]})")

    def _refuse_if_gone(self) -> None:
        """See whether the file that is written to is the one of that name; if there is none, write it again.

        Raises:
            StoreError: it was not; also where the file was written again, so that this is logged.
        """
        try:
            there = os.stat(self._real)
        except FileNotFoundError:
            self._write_again()
            raise StoreError(
                f"{self._path}: the file was deleted or moved away while it was in use; "
                "it has been written again, and nothing is lost"
            ) from None
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be looked at: {error.strerror}") from None
        if not os.path.samestat(there, os.fstat(self._file)):
            with suppress(OSError, sqlite3.Error):
                if lock_holder(self._real) is None:
                    # What lies in our -wal must not get into the other file at the next start.
                    _pragma(self._connection, "wal_checkpoint(TRUNCATE)")
            raise StoreError(
                f"{self._path}: another file was put in its place while it was in use; restart the exporter "
                "to go on from that one, or remove it to have this one written again"
            )

    def _write_again(self) -> None:
        """Copy all rows to a new file, give that the old one's name, and go on with it."""
        copy = f"{self._real}.new"
        with self._explained("cannot write again"):
            for leftover in (copy, f"{copy}-journal", f"{copy}-wal"):
                Path(leftover).unlink(missing_ok=True)
            os.close(_create_private(copy))
            with closing(sqlite3.connect(copy, isolation_level=None)) as target:
                self._connection.backup(target)
            # It belongs to the file that is gone.
            Path(f"{self._real}-wal").unlink(missing_ok=True)
            os.rename(copy, self._real)
            folder = os.open(Path(self._real).parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        file, connection = self._opened()
        self._connection.close()
        os.close(self._file)
        self._file, self._connection = file, connection

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        with self._explained(doing), transaction(self._connection):
            yield

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {doing}: {_meaning(error)}") from None
        except OSError as error:
            raise StoreError(f"{self._path}: {doing}: {error.strerror}") from None


def _pragma(connection: sqlite3.Connection, text: str) -> int:
    row = connection.execute(f"PRAGMA {text}").fetchone()
    return row[0] if row and isinstance(row[0], int) else 0


def _meaning(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    meanings = {
        sqlite3.SQLITE_BUSY: "another process has it open; one exporter for each state.path",
        sqlite3.SQLITE_NOTADB: _DAMAGED,
        sqlite3.SQLITE_CORRUPT: _DAMAGED,
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_READONLY: "it, or its folder, where the -wal must lie, is read-only",
    }
    return meanings.get(code, str(error))


def _create_private(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        folder = Path(path).absolute().parent
        hint = "" if folder.is_dir() else f"; there is no folder {folder}"
        raise StoreError(f"{path}: cannot open: {error.strerror}{hint}") from None


def refuse_strange(path: str) -> None:
    """Look before SQLite does: opening a file, it may finish or drop what it finds in the files beside it.

    Raises:
        StoreError: the file is not one of ours.
        OSError: it cannot be read.
    """
    wal = f"{os.path.realpath(path)}-wal"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if _size(wal):
            raise StoreError(
                f"{path}: the file is gone, its -wal is not; put the file back, or remove the -wal too"
            ) from None
        return
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: this is no file; name another state.path")
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header and _size(wal):
        raise StoreError(f"{path}: the file is empty, its -wal is not; restore a copy, or remove both")
    if header and not header.startswith(_MAGIC):
        raise StoreError(f"{path}: this is no SQLite file; name another state.path")
    if header and len(header) < _HEADER_BYTES:
        raise StoreError(f"{path}: {_DAMAGED}")
    if header and int.from_bytes(header[_APPLICATION_ID_AT]) != APPLICATION_ID:
        raise StoreError(f"{path}: this SQLite file belongs to another program; name another state.path")


def lock_holder(path: str) -> int | None:
    """The process that has a lock on a database; asked of the system, which locks nothing.

    Not for a file that this process has open: its own lock would end.

    Raises:
        OSError: the file cannot be read, or its file system has no locks.
    """
    start, length = _LOCK_BYTES
    with open(path, "rb") as file:
        if sys.platform == "darwin":
            asked = struct.pack("qqihh", start, length, 0, fcntl.F_RDLCK, os.SEEK_SET)
            _, _, holder, kind, _ = struct.unpack("qqihh", fcntl.fcntl(file, fcntl.F_GETLK, asked))
        else:
            asked = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
            kind, _, _, _, holder = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(holder)


def _can_lock(file: int) -> bool:
    """Whether an open file can be locked at all, by whomever; ends a lock that this process has on it."""
    start, length = _LOCK_BYTES
    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, length, start)
        fcntl.lockf(file, fcntl.LOCK_UN, length, start)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    return True


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _row(job_id: str, ledger: JobLedger) -> tuple[str, int, str, int]:
    row = encode(ledger)
    return job_id, ledger.polled_ms, row, _checksum(job_id.encode(), ledger.polled_ms, row.encode())


def _checksum(job_id: bytes, polled_ms: int, row: bytes) -> int:
    return zlib.crc32(b"%s %d %s" % (job_id, polled_ms, row))
