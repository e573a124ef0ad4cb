"""Ledgers in one SQLite file: a row for each job, one transaction for each round of polls.

The file belongs to one process at a time: SQLite's exclusive lock is held as long as the store is open, and
ends with the process. A damaged, foreign or newer file is refused and left unchanged, and so is its log
(``-wal``). SQLite detects torn pages; a checksum in each row detects other damage.

A file that is deleted or moved while the store is open is rewritten from the open connection. If another file
has replaced it, nothing is committed until that is resolved.
"""

import os
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from exporter.errors import StoreError, UnreadableRowsError
from exporter.ledger.job_ledger import JobLedger
from exporter.store.serialization import decode, encode
from exporter.store.sqlite_file import (
    APPLICATION_ID,
    DAMAGED,
    NO_LOCKS,
    can_lock,
    create_private,
    explained,
    lock_holder,
    pragma,
    refuse_foreign,
    transaction,
)

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
"""Each migrates the file from the schema version of its index to the next; ``user_version`` counts them."""

SCHEMA_VERSION: Final = len(_MIGRATIONS)


class SqliteStore:
    """Ledgers in a file; a process must open a file only once, or it loses the lock.

    Args:
        path: the file; created, readable by its owner only, if it does not exist.

    Raises:
        StoreError: the file is in use, cannot be opened, or does not belong to the exporter.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._real = os.path.realpath(path)
        except FileNotFoundError:
            raise StoreError(
                f"{path}: cannot open: the working directory was deleted; give an absolute state.path"
            ) from None
        self._file, self._connection = self._open()

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """Read ledgers; if rows cannot be read, the error names one of the jobs."""
        wanted = None if job_ids is None else frozenset(job_ids)
        unreadable: dict[str, str] = {}
        ledgers = dict(held or {})
        # As bytes, so that invalid text is reported with its job.
        query = "SELECT CAST(job_id AS BLOB), polled_ms, CAST(ledger AS BLOB), checksum FROM ledgers"
        with explained(self._path, "cannot read"):
            for key, polled_ms, row, checksum in self._connection.execute(query):
                job_id = key.decode(errors="replace")
                if wanted is not None and job_id not in wanted:
                    continue
                try:
                    if checksum != _checksum(key, polled_ms, row):
                        raise ValueError("it is damaged: its checksum does not match")
                    ledgers[job_id] = decode(row)
                except ValueError as error:
                    unreadable[job_id] = str(error)
        if unreadable:
            raise UnreadableRowsError(str(self._path), unreadable)
        return ledgers

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Write all ledgers, or none; no other process can have committed meanwhile."""
        self._refuse_if_gone()
        rows = [_row(job_id, ledger) for job_id, ledger in changed.items()]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?, ?)", rows)
            self._forget_first_watched(changed)
        return {}

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Check that the file still exists; the error says whether it was rewritten."""
        self._refuse_if_gone()
        return 0

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """Record when jobs without a ledger were first watched."""
        self._refuse_if_gone()
        new = [(job_id, at_ms) for job_id in job_ids]
        with self._transaction():
            self._connection.executemany("INSERT OR IGNORE INTO first_watched VALUES (?, ?)", new)
            times = dict(self._connection.execute("SELECT job_id, at_ms FROM first_watched"))
        return {job_id: times[job_id] for job_id in job_ids}

    def correct_first_watched(self, times: Mapping[str, int | None]) -> None:
        """Replace or delete recorded times, all or none."""
        self._refuse_if_gone()
        rows = [(ms, key) for key, ms in times.items() if ms is not None]
        with self._transaction():
            self._connection.executemany("UPDATE first_watched SET at_ms = ? WHERE job_id = ?", rows)
            self._forget_first_watched(key for key, ms in times.items() if ms is None)

    def newest_poll_ms(self) -> int | None:
        """Return when the job that was polled last was polled."""
        with explained(self._path, "cannot read"):
            newest: int | None = self._connection.execute("SELECT max(polled_ms) FROM ledgers").fetchone()[0]
        return newest

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Delete ledgers of unwatched jobs last polled before a time; return how many."""
        with explained(self._path, "cannot read"):
            jobs = self._stale("SELECT job_id FROM ledgers WHERE polled_ms < ?", before_ms, watched)
            unpolled = self._stale("SELECT job_id FROM first_watched WHERE at_ms < ?", before_ms, watched)
        if jobs or unpolled:
            with self._transaction():
                rows = [(job_id,) for job_id in jobs]
                self._connection.executemany("DELETE FROM ledgers WHERE job_id = ?", rows)
                self._forget_first_watched(unpolled)
        return len(jobs)

    def close(self) -> None:
        """Close the file, after rewriting it if it was deleted."""
        with suppress(StoreError):
            self._refuse_if_gone()
        self._connection.close()
        os.close(self._file)

    def _open(self) -> tuple[int, sqlite3.Connection]:
        """Open file and connection.

        The descriptor serves to compare files. Closing it before the connection would release the lock.
        """
        if not os.path.exists(self._real):
            refuse_foreign(self._path)
        file = create_private(self._path)
        try:
            refuse_foreign(self._path)
            connection = sqlite3.connect(
                self._real, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=16
            )
            try:
                self._prepare(connection)
            except BaseException:
                # An interrupted connection does not write the -wal into the file when it is closed.
                connection.interrupt()
                connection.close()
                raise
        except BaseException as error:
            is_lockless = isinstance(error, StoreError) and not can_lock(file)
            os.close(file)
            if is_lockless:
                raise StoreError(f"{self._path}: cannot open: {NO_LOCKS}") from None
            raise
        return file, connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with explained(self._path, "cannot open"):
            pragma(connection, "locking_mode = EXCLUSIVE")
            pragma(connection, "synchronous = FULL")
            self._refuse_unusable(connection)
            with explained(self._path, "cannot write"), transaction(connection):
                for index in range(pragma(connection, "user_version"), SCHEMA_VERSION):
                    connection.execute(_MIGRATIONS[index])
                    pragma(connection, f"user_version = {index + 1}")
                if pragma(connection, "application_id") != APPLICATION_ID:
                    pragma(connection, f"application_id = {APPLICATION_ID}")
            pragma(connection, "journal_mode = WAL")

    def _refuse_unusable(self, connection: sqlite3.Connection) -> None:
        version = pragma(connection, "user_version")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: written by a newer exporter (schema {version}, not {SCHEMA_VERSION}); "
                "start that version again, or name another state.path"
            )
        report = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if report and report[0] != "ok":
            raise StoreError(f"{self._path}: {DAMAGED} ({report[0].splitlines()[-1]})")

    def _refuse_if_gone(self) -> None:
        """Check that the open file is still the one at its path; rewrite it if there is none.

        Raises:
            StoreError: it was not, even if it was rewritten, so that this is logged.
        """
        try:
            current = os.stat(self._real)
        except FileNotFoundError:
            self._rewrite()
            raise StoreError(
                f"{self._path}: the file was deleted or moved away while it was in use; "
                "it has been written again, and nothing is lost"
            ) from None
        except OSError as error:
            raise StoreError(f"{self._path}: cannot read: {error.strerror}") from None
        if not os.path.samestat(current, os.fstat(self._file)):
            with suppress(OSError, sqlite3.Error):
                if lock_holder(self._real) is None:
                    # Otherwise, the next start would apply our -wal to the other file.
                    pragma(self._connection, "wal_checkpoint(TRUNCATE)")
            raise StoreError(
                f"{self._path}: another file was put in its place while it was in use; restart the exporter "
                "to continue from that one, or remove it to have this one written again"
            )

    def _rewrite(self) -> None:
        """Copy all rows to a new file at the same path, and continue with it."""
        copy = f"{self._real}.new"
        with explained(self._path, "cannot write again"):
            for leftover in (copy, f"{copy}-journal", f"{copy}-wal"):
                Path(leftover).unlink(missing_ok=True)
            os.close(create_private(copy))
            with closing(sqlite3.connect(copy, isolation_level=None)) as target:
                self._connection.backup(target)
            # It belongs to the deleted file.
            Path(f"{self._real}-wal").unlink(missing_ok=True)
            os.rename(copy, self._real)
            folder = os.open(Path(self._real).parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        file, connection = self._open()
        self._connection.close()
        os.close(self._file)
        self._file, self._connection = file, connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self._path, "cannot write"), transaction(self._connection):
            yield

    def _forget_first_watched(self, job_ids: Iterable[str]) -> None:
        rows = [(job_id,) for job_id in job_ids]
        self._connection.executemany("DELETE FROM first_watched WHERE job_id = ?", rows)

    def _stale(self, query: str, before_ms: int, watched: Collection[str]) -> list[str]:
        rows = self._connection.execute(query, (before_ms,)).fetchall()
        return [job_id for (job_id,) in rows if job_id not in watched]


def _row(job_id: str, ledger: JobLedger) -> tuple[str, int, str, int]:
    row = encode(ledger)
    return job_id, ledger.polled_ms, row, _checksum(job_id.encode(), ledger.polled_ms, row.encode())


def _checksum(job_id: bytes, polled_ms: int, row: bytes) -> int:
    return zlib.crc32(b"%s %d %s" % (job_id, polled_ms, row))
