"""Ledgers in one SQLite file: a row for each job, one transaction for each round of polls.

The file belongs to one process at a time: SQLite's exclusive lock is held as long as the store is open, and
ends with the process however it ends. A file that is torn, foreign or newer is refused and left as it is, and
so is the log of changes beside it (``-wal``). SQLite notices a torn page; a checksum in each row, what else
may have happened to it.
"""

import os
import sqlite3
import stat
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from exporter.errors import StoreError
from exporter.ledger import JobLedger
from exporter.store.rows import decode, encode
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
)
"""Each brings the file from the schema version of its index to the next; ``user_version`` counts them."""

SCHEMA_VERSION: Final = len(_MIGRATIONS)

_DAMAGED: Final = "the file is damaged; restore a copy or name another state.path"

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_APPLICATION_ID_AT: Final = slice(68, 72)
"""Where SQLite's file format has them: https://www.sqlite.org/fileformat2.html#the_database_header"""


class SqliteStore:
    """Ledgers in a file; at most one store for a file in one process, or its lock is lost.

    Args:
        path: the file; it is made, readable by its owner only, where there is none.

    Raises:
        StoreError: the file is in use, cannot be opened, or is not one of ours.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        _create_private(path)
        refuse_strange(path)
        self._connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        try:
            self._open()
        except BaseException:
            # What is interrupted does not write the -wal into the file when it is closed.
            self._connection.interrupt()
            self._connection.close()
            raise

    def load(self, job_ids: Collection[str] | None) -> dict[str, JobLedger]:
        """The ledgers that were committed for those jobs, or all; jobs without one are left out.

        Raises:
            StoreError: a row cannot be read; it names the job.
        """
        wanted = None if job_ids is None else frozenset(job_ids)
        ledgers: dict[str, JobLedger] = {}
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
        rows = [_row(job_id, ledger) for job_id, ledger in changed.items()]
        with self._transaction("cannot write"):
            self._connection.executemany("INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?, ?)", rows)
        return {}

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Drop the ledgers of jobs that are not watched and were last polled before then; how many.

        Raises:
            StoreError: none is dropped.
        """
        with self._explained("cannot read"):
            rows = self._connection.execute("SELECT job_id FROM ledgers WHERE polled_ms < ?", (before_ms,))
            dropped = [(job_id,) for (job_id,) in rows.fetchall() if job_id not in watched]
        if dropped:
            with self._transaction("cannot write"):
                self._connection.executemany("DELETE FROM ledgers WHERE job_id = ?", dropped)
        return len(dropped)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _open(self) -> None:
        with self._explained("cannot open"):
            self._pragma("locking_mode = EXCLUSIVE")
            self._pragma("synchronous = FULL")
            self._refuse_unusable()
            with self._transaction("cannot write"):
                for index in range(self._pragma("user_version"), SCHEMA_VERSION):
                    self._connection.execute(_MIGRATIONS[index])
                    self._pragma(f"user_version = {index + 1}")
                if self._pragma("application_id") != APPLICATION_ID:
                    self._pragma(f"application_id = {APPLICATION_ID}")
            self._pragma("journal_mode = WAL")

    def _refuse_unusable(self) -> None:
        version = self._pragma("user_version")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: written by a newer exporter (schema {version}, not {SCHEMA_VERSION}); "
                "start that version again, or name another state.path"
            )
        told = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if told and told[0] != "ok":
            raise StoreError(f"{self._path}: {_DAMAGED} ({told[0].splitlines()[-1]})")

    def _pragma(self, text: str) -> int:
        row = self._connection.execute(f"PRAGMA {text}").fetchone()
        return row[0] if row and isinstance(row[0], int) else 0

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


def _create_private(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        folder = Path(path).absolute().parent
        hint = "" if folder.is_dir() else f"; there is no folder {folder}"
        raise StoreError(f"{path}: cannot open: {error.strerror}{hint}") from None


def refuse_strange(path: str) -> None:
    """Look before SQLite does: opening a file, it may finish or drop what it finds in the files beside it.

    Raises:
        StoreError: the file is not one of ours.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise StoreError(f"{path}: this is no file; name another state.path")
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header and _size(f"{path}-wal"):
        raise StoreError(f"{path}: the file is empty, its -wal is not; restore a copy, or remove both")
    if header and not header.startswith(_MAGIC):
        raise StoreError(f"{path}: this is no SQLite file; name another state.path")
    if header and len(header) < _HEADER_BYTES:
        raise StoreError(f"{path}: {_DAMAGED}")
    if header and int.from_bytes(header[_APPLICATION_ID_AT]) != APPLICATION_ID:
        raise StoreError(f"{path}: this SQLite file belongs to another program; name another state.path")


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
