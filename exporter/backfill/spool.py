"""The API's replies in one SQLite file, from which an interrupted backfill resumes.

Everything is committed as it arrives, so a kill loses only requests in flight. The file belongs to one set of
jobs and one period, and to one process at a time.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from exporter.backfill.past_build import KnownBuild, PastBuild, plausible
from exporter.errors import BackfillError
from exporter.ledger.record_merge import contradicts, join
from exporter.model import Build, BuildDetail, Stage
from exporter.store.sqlite_file import transaction

APPLICATION_ID: Final = 0x43424246
"""``CBBF`` marks our files."""

VERSION: Final = 1

_SCHEMA: Final = f"""
    CREATE TABLE request (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE windows (
        job_id TEXT, first TEXT, last TEXT, unreadable INTEGER NOT NULL, PRIMARY KEY (job_id, first, last)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE builds (
        job_id TEXT, number INTEGER, dated_ms INTEGER, listed INTEGER NOT NULL, asked INTEGER NOT NULL,
        build TEXT NOT NULL, detail TEXT, stages TEXT, PRIMARY KEY (job_id, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX builds_by_date ON builds (dated_ms);
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {VERSION};
"""

_ADDED: Final = "CREATE TABLE IF NOT EXISTS records (job_id TEXT PRIMARY KEY, details TEXT NOT NULL) STRICT"
"""A table that spools of older versions get when they are opened."""

_FINISHED: Final = """
    SELECT job_id, dated_ms, build, detail, stages FROM builds
    WHERE dated_ms > ? AND dated_ms <= ? ORDER BY dated_ms, number
"""
_FINISHED_OF_JOB: Final = _FINISHED.replace("WHERE", "WHERE job_id = ? AND")

_LISTED: Final = """
    INSERT INTO builds VALUES (?, ?, ?, 1, 0, ?, ?, NULL)
    ON CONFLICT (job_id, number) DO UPDATE
    SET listed = 1, dated_ms = excluded.dated_ms, build = excluded.build
"""
_FETCHED: Final = """
    INSERT INTO builds VALUES (?, ?, ?, 0, 1, ?, ?, NULL)
    ON CONFLICT (job_id, number) DO UPDATE
    SET asked = 1, dated_ms = excluded.dated_ms, detail = excluded.detail
"""

_FOREIGN: Final = "not a backfill spool; choose another --spool"
_MEANINGS: Final = {
    sqlite3.SQLITE_BUSY: "another program has it open",
    sqlite3.SQLITE_NOTADB: _FOREIGN,
}

_DISCARDED: Final = "records discarded"
_REFUSED: Final = "null"
"""Stands for stages that the service refuses."""

_BUILD: Final = TypeAdapter(Build)
_DETAIL: Final = TypeAdapter(BuildDetail)
_DETAILS: Final = TypeAdapter(list[BuildDetail])
_STAGES: Final = TypeAdapter(tuple[Stage, ...] | None)


class Spool:
    """The replies to one backfill.

    Args:
        path: the file; created readable by its owner only.

    Raises:
        BackfillError: the file is in use, cannot be opened, or is not one of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise BackfillError(f"{path}: cannot open: {error.strerror}") from None
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            with self._converted_errors():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, key: str) -> str | None:
        """Return the value stored under a key."""
        row = self._row("SELECT value FROM request WHERE key = ?", key)
        return row[0] if row else None

    def put(self, key: str, value: str) -> None:
        """Store a value under a key."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO request VALUES (?, ?)", (key, value))

    def has_window(self, job_id: str, first: date, last: date) -> bool:
        """Return whether the history of these days is stored."""
        query = "SELECT 1 FROM windows WHERE job_id = ? AND first = ? AND last = ?"
        return self._row(query, job_id, first.isoformat(), last.isoformat()) is not None

    def add_window(
        self, job_id: str, first: date, last: date, builds: Iterable[Build], unreadable: int
    ) -> None:
        """Store the history of some days and the number of its unreadable records; details stay."""
        merged: dict[int, Build] = {}
        for build in builds:
            merged[build.number] = join(merged[build.number], build) if build.number in merged else build
        with self._transaction():
            for number, build in merged.items():
                stored = self._find(job_id, number)
                past = replace(stored, build=join(stored.build, build)) if stored else PastBuild(build)
                self._connection.execute(_LISTED, _to_row(job_id, past))
            window = (job_id, first.isoformat(), last.isoformat(), unreadable)
            self._connection.execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?)", window)

    def has_records(self, job_id: str) -> bool:
        """Return whether records of a job were stored, used or not."""
        return self._row("SELECT 1 FROM records WHERE job_id = ?", job_id) is not None

    def put_records(self, job_id: str, details: Sequence[BuildDetail]) -> None:
        """Store a job's builds from records, for use when its history is stored."""
        with self._transaction():
            text = _DETAILS.dump_json(list(details), exclude_defaults=True).decode()
            self._connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (job_id, text))

    def use_records(self, job_id: str, numbers: Iterable[int]) -> None:
        """Take the details of builds from records, unless history contradicts them; drop the rest."""
        row = self._row("SELECT details FROM records WHERE job_id = ?", job_id)
        stored = {detail.number: detail for detail in _DETAILS.validate_json(row[0])} if row else {}
        if not stored:
            return
        with self._transaction():
            for number in numbers:
                past = self._find(job_id, number)
                detail = stored.get(number)
                if past and detail and not contradicts(past.build, detail):
                    self._connection.execute(_FETCHED, _to_row(job_id, replace(past, detail=detail)))
            self._connection.execute("UPDATE records SET details = '[]' WHERE job_id = ?", (job_id,))

    def discard_records(self, reason: str) -> None:
        """Forget all replies about jobs with records, so that they are requested again without records."""
        with self._transaction():
            for table in ("builds", "windows"):
                query = f"DELETE FROM {table} WHERE job_id IN (SELECT job_id FROM records)"  # noqa: S608
                self._connection.execute(query)
            self._connection.execute("DELETE FROM records")
            self._connection.execute("INSERT OR REPLACE INTO request VALUES (?, ?)", (_DISCARDED, reason))

    @property
    def discarded(self) -> str:
        """The reason for which records were discarded; empty if they were not."""
        return self.get(_DISCARDED) or ""

    def add_details(self, replies: Iterable[tuple[str, int, BuildDetail | None]]) -> None:
        """Store details by job and number; None where the service refuses them."""
        with self._transaction():
            for job_id, number, detail in replies:
                past = self._find(job_id, number) or PastBuild(Build(number))
                self._connection.execute(_FETCHED, _to_row(job_id, replace(past, detail=detail)))

    def add_stages(self, replies: Iterable[tuple[str, int, tuple[Stage, ...] | None]]) -> None:
        """Store stages by job and number; None where the service refuses them."""
        rows = [(_STAGES.dump_json(stages).decode(), job_id, number) for job_id, number, stages in replies]
        with self._transaction():
            self._connection.executemany("UPDATE builds SET stages = ? WHERE job_id = ? AND number = ?", rows)

    def without_stages(self, job_id: str, after_ms: int, through_ms: int) -> list[tuple[int, str]]:
        """Number and record id of the builds that finished in that time and have no stages yet."""
        query = (
            "SELECT number, detail FROM builds WHERE job_id = ? AND dated_ms > ? AND dated_ms <= ? "
            "AND detail IS NOT NULL AND stages IS NULL ORDER BY number"
        )
        rows = self._rows(query, job_id, after_ms, through_ms)
        builds = ((number, _DETAIL.validate_json(detail).record_id) for number, detail in rows)
        return [(number, record_id) for number, record_id in builds if record_id]

    def known(self, job_id: str) -> list[KnownBuild]:
        """The plausible build numbers of a job, ascending."""
        query = "SELECT number, dated_ms, listed, asked FROM builds WHERE job_id = ? ORDER BY number"
        rows = self._rows(query, job_id)
        return plausible(
            KnownBuild(number, ms, bool(in_list), bool(asked)) for number, ms, in_list, asked in rows
        )

    def finished(
        self, after_ms: int, through_ms: int, job_id: str | None = None
    ) -> dict[str, list[tuple[int, PastBuild]]]:
        """Finish time and build by job, in order, of what finished in that time; of one job or of all."""
        times = (after_ms, through_ms)
        rows = self._rows(_FINISHED_OF_JOB, job_id, *times) if job_id else self._rows(_FINISHED, *times)
        found: dict[str, list[tuple[int, PastBuild]]] = {}
        for owner, dated_ms, build, detail, stages in rows:
            found.setdefault(owner, []).append((dated_ms, _past_build(build, detail, stages)))
        return found

    def iter_finished(self, job_id: str, through_ms: int) -> Iterator[tuple[int, PastBuild]]:
        """Finish time and build, in order, of what finished by then; read one by one."""
        for _, dated_ms, build, detail, stages in self._rows(_FINISHED_OF_JOB, job_id, 0, through_ms):
            yield dated_ms, _past_build(build, detail, stages)

    def is_listed(self, job_id: str, number: int) -> bool:
        """Return whether history has a record of a build."""
        query = "SELECT 1 FROM builds WHERE job_id = ? AND number = ? AND listed"
        return self._row(query, job_id, number) is not None

    def newest_with_detail(self) -> tuple[str, int] | None:
        """Job and number of the latest build with a detail, if any."""
        query = "SELECT job_id, number FROM builds WHERE detail IS NOT NULL ORDER BY dated_ms DESC LIMIT 1"
        row = self._row(query)
        return (row[0], row[1]) if row else None

    def newest_with_stages(self) -> str | None:
        """Record id of the latest build with stages, if any."""
        query = "SELECT detail FROM builds WHERE stages <> ? ORDER BY dated_ms DESC LIMIT 1"
        row = self._row(query, _REFUSED)
        return _DETAIL.validate_json(row[0]).record_id if row else None

    def without_detail(self) -> int:
        """Number of builds whose details are refused."""
        return self._count("asked AND detail IS NULL AND dated_ms IS NOT NULL")

    def refused_stages(self) -> int:
        """Number of builds whose stages are refused."""
        return self._count(f"stages = '{_REFUSED}'")

    def undated(self) -> int:
        """Number of finished builds without any time."""
        return self._count(
            "dated_ms IS NULL AND coalesce(build ->> 'result', detail ->> 'result') IS NOT NULL"
        )

    def unreadable(self) -> int:
        """Number of unreadable records in all histories."""
        [(total,)] = self._rows("SELECT total(unreadable) FROM windows")
        return int(total)

    def fingerprint(self) -> tuple[int, ...]:
        """A tuple that changes with the stored builds, their dates, details and stages."""
        dates = "total(dated_ms / 1000000), total(dated_ms % 1000000)"  # sums that a float holds exactly
        query = f"SELECT count(*), total(asked), {dates}, count(detail), count(stages) FROM builds"  # noqa: S608
        return tuple(map(int, next(self._rows(query))))

    def _rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        with self._converted_errors():
            yield from self._connection.execute(query, values)

    def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        return next(self._rows(query, *values), None)

    def _count(self, condition: str) -> int:
        [(count,)] = self._rows(f"SELECT count(*) FROM builds WHERE {condition}")  # noqa: S608 written above
        return int(count)

    def _find(self, job_id: str, number: int) -> PastBuild | None:
        row = self._row("SELECT build, detail FROM builds WHERE job_id = ? AND number = ?", job_id, number)
        return _past_build(*row) if row else None

    def _open(self) -> None:
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        application_id, version, objects = self._connection.execute(
            "SELECT * FROM pragma_application_id, pragma_user_version, (SELECT count(*) FROM sqlite_schema)"
        ).fetchone()
        if not objects:
            self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT")
        elif application_id != APPLICATION_ID:
            raise BackfillError(f"{self.path}: {_FOREIGN}")
        elif version != VERSION:
            raise BackfillError(f"{self.path}: another version; remove it, or choose another --spool")
        self._connection.execute(_ADDED)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._converted_errors(), transaction(self._connection):
            yield

    @contextmanager
    def _converted_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise BackfillError(f"{self.path}: {_MEANINGS.get(code, error)}") from None


def _to_row(job_id: str, past: PastBuild) -> tuple[object, ...]:
    build = _BUILD.dump_json(past.build, exclude_defaults=True).decode()
    detail = _DETAIL.dump_json(past.detail, exclude_defaults=True).decode() if past.detail else None
    return job_id, past.build.number, past.dated_ms, build, detail


def _past_build(build: str, detail: str | None, stages: str | None = None) -> PastBuild:
    return PastBuild(
        _BUILD.validate_json(build),
        _DETAIL.validate_json(detail) if detail else None,
        _STAGES.validate_json(stages) if stages else None,
    )
