"""Ledgers in one SQLite file: a row for each job, one transaction for each round of polls.

The file belongs to one process at a time: SQLite's exclusive lock is held as long as the store is open, and
ends with the process however it ends. A file that is torn, foreign or newer is refused and left alone.
"""

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from exporter.errors import StoreError
from exporter.ledger import JobLedger
from exporter.store.rows import decode, encode

APPLICATION_ID: Final = 0x43424558
"""``CBEX``; tells our files from others."""

_MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE ledgers (
        job_id TEXT PRIMARY KEY,
        polled_ms INTEGER NOT NULL,
        ledger TEXT NOT NULL
    ) STRICT
    """,
)
"""Each brings the file from the schema version of its index to the next; ``user_version`` counts them."""

SCHEMA_VERSION: Final = len(_MIGRATIONS)


class SqliteStore:
    """Ledgers in a file.

    Args:
        path: the file; it is made, readable by its owner only, where there is none.

    Raises:
        StoreError: the file is in use, cannot be opened, or is not one of ours.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        _create_private(path)
        self._connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise

    def load(self, job_ids: Collection[str]) -> dict[str, JobLedger]:
        """The ledgers that were committed for those jobs; jobs without one are left out.

        Raises:
            StoreError: a row cannot be read; it names the job.
        """
        wanted = frozenset(job_ids)
        ledgers: dict[str, JobLedger] = {}
        with self._explained("cannot read"):
            rows = self._connection.execute("SELECT job_id, ledger FROM ledgers").fetchall()
        for job_id, row in rows:
            if job_id in wanted:
                try:
                    ledgers[job_id] = decode(row)
                except ValueError as error:
                    raise StoreError(f"{self._path}: the ledger of job {job_id}: {error}") from None
        return ledgers

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Keep all of these, or none; nobody else can have written meanwhile.

        Raises:
            StoreError: none of them is kept.
        """
        rows = [(job_id, ledger.polled_ms, encode(ledger)) for job_id, ledger in changed.items()]
        with self._transaction("cannot write"):
            self._connection.executemany("INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?)", rows)
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
            self._refuse_foreign()
            with self._transaction("cannot write"):
                for index in range(self._pragma("user_version"), SCHEMA_VERSION):
                    self._connection.execute(_MIGRATIONS[index])
                    self._pragma(f"user_version = {index + 1}")
                if self._pragma("application_id") != APPLICATION_ID:
                    self._pragma(f"application_id = {APPLICATION_ID}")
            self._pragma("journal_mode = WAL")

    def _refuse_foreign(self) -> None:
        owner, version = self._pragma("application_id"), self._pragma("user_version")
        tables = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if owner != APPLICATION_ID and (owner or version or tables):
            raise StoreError(
                f"{self._path}: this SQLite file belongs to another program; name another state.path"
            )
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: written by a newer exporter (schema {version}, not {SCHEMA_VERSION}); "
                "start that version again, or name another state.path"
            )
        told = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if told and told[0] != "ok":
            raise StoreError(
                f"{self._path}: the file is damaged ({told[0]}); restore a copy or name another state.path"
            )

    def _pragma(self, text: str) -> int:
        row = self._connection.execute(f"PRAGMA {text}").fetchone()
        return row[0] if row and isinstance(row[0], int) else 0

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        """All or nothing; a transaction that SQLite itself gave up is not rolled back twice."""
        with self._explained(doing):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

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
        sqlite3.SQLITE_NOTADB: "this is no SQLite file; name another state.path",
        sqlite3.SQLITE_CORRUPT: "the file is damaged; restore a copy or name another state.path",
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_READONLY: "it is read-only",
    }
    return meanings.get(code, str(error))


def _create_private(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        folder = Path(path).absolute().parent
        hint = "" if folder.is_dir() else f"; there is no folder {folder}"
        raise StoreError(f"{path}: cannot open: {error.strerror}{hint}") from None
