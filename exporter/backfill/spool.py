"""What the API has told so far, in one SQLite file: a backfill that was killed goes on from it.

Everything is committed as it comes, so a kill costs the answers under way. The file belongs to one request,
that is to the same jobs and the same period, and to one process at a time.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from exporter.backfill.builds import Known, PastBuild, plausible
from exporter.errors import BackfillError
from exporter.ledger.builder import join
from exporter.model import Build, BuildDetail, Stage
from exporter.store.transactions import transaction

APPLICATION_ID: Final = 0x43424246
"""``CBBF``; tells our files from others."""

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

_FINISHED: Final = """
    SELECT job_id, dated_ms, build, detail, stages FROM builds
    WHERE dated_ms > ? AND dated_ms <= ? ORDER BY dated_ms, number
"""
_FINISHED_OF_ONE: Final = """
    SELECT job_id, dated_ms, build, detail, stages FROM builds
    WHERE job_id = ? AND dated_ms > ? AND dated_ms <= ? ORDER BY dated_ms, number
"""

_LISTED: Final = """
    INSERT INTO builds VALUES (?, ?, ?, 1, 0, ?, ?, NULL)
    ON CONFLICT (job_id, number) DO UPDATE
    SET listed = 1, dated_ms = excluded.dated_ms, build = excluded.build
"""
_ASKED: Final = """
    INSERT INTO builds VALUES (?, ?, ?, 0, 1, ?, ?, NULL)
    ON CONFLICT (job_id, number) DO UPDATE
    SET asked = 1, dated_ms = excluded.dated_ms, detail = excluded.detail
"""

_REFUSED: Final = "null"
"""Stands for stages that the service will never tell."""

_BUILD: Final = TypeAdapter(Build)
_DETAIL: Final = TypeAdapter(BuildDetail)
_STAGES: Final = TypeAdapter(tuple[Stage, ...] | None)


class Spool:
    """The answers of one backfill.

    Args:
        path: the file; it is made, readable by its owner only, where there is none.

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
            with self._explained():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def recall(self, key: str) -> str | None:
        """What was noted under that key."""
        with self._explained():
            row = self._connection.execute("SELECT value FROM request WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def note(self, key: str, value: str) -> None:
        """Remember something about the request."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO request VALUES (?, ?)", (key, value))

    def has_window(self, job_id: str, first: date, last: date) -> bool:
        """Whether the history of those days is here."""
        query = "SELECT 1 FROM windows WHERE job_id = ? AND first = ? AND last = ?"
        with self._explained():
            asked = (job_id, first.isoformat(), last.isoformat())
            return self._connection.execute(query, asked).fetchone() is not None

    def add_window(
        self, job_id: str, first: date, last: date, builds: Iterable[Build], unreadable: int
    ) -> None:
        """Keep the history of some days, and how many records of it cannot be read; known details stay."""
        known: dict[int, Build] = {}
        for build in builds:
            known[build.number] = join(known[build.number], build) if build.number in known else build
        with self._transaction():
            for number, build in known.items():
                kept = self._find(job_id, number)
                one = replace(kept, build=join(kept.build, build)) if kept else PastBuild(build)
                self._connection.execute(_LISTED, _row(job_id, one))
            window = (job_id, first.isoformat(), last.isoformat(), unreadable)
            self._connection.execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?)", window)

    def add_details(self, answers: Iterable[tuple[str, int, BuildDetail | None]]) -> None:
        """Keep what single builds were answered with; None where the service will never tell."""
        with self._transaction():
            for job_id, number, detail in answers:
                kept = self._find(job_id, number) or PastBuild(Build(number))
                self._connection.execute(_ASKED, _row(job_id, replace(kept, detail=detail)))

    def add_stages(self, answers: Iterable[tuple[str, int, tuple[Stage, ...] | None]]) -> None:
        """Keep the stages of single builds; None where the service will never tell."""
        rows = [(_STAGES.dump_json(stages).decode(), job_id, number) for job_id, number, stages in answers]
        with self._transaction():
            self._connection.executemany("UPDATE builds SET stages = ? WHERE job_id = ? AND number = ?", rows)

    def without_stages(self, job_id: str, after_ms: int, through_ms: int) -> list[tuple[int, str]]:
        """Number and record id of the builds that finished in that stretch and whose stages are not here."""
        query = (
            "SELECT number, detail FROM builds WHERE job_id = ? AND dated_ms > ? AND dated_ms <= ? "
            "AND detail IS NOT NULL AND stages IS NULL ORDER BY number"
        )
        with self._explained():
            rows = self._connection.execute(query, (job_id, after_ms, through_ms)).fetchall()
        found = ((number, _DETAIL.validate_json(detail).record_id) for number, detail in rows)
        return [(number, record_id) for number, record_id in found if record_id]

    def known(self, job_id: str) -> list[Known]:
        """The build numbers of a job, ascending, but those that can only be garbage."""
        query = "SELECT number, dated_ms, listed, asked FROM builds WHERE job_id = ? ORDER BY number"
        with self._explained():
            rows = self._connection.execute(query, (job_id,)).fetchall()
        return plausible(Known(number, ms, bool(listed), bool(asked)) for number, ms, listed, asked in rows)

    def finished(
        self, after_ms: int, through_ms: int, job_id: str | None = None
    ) -> dict[str, list[tuple[int, PastBuild]]]:
        """The builds that finished in that stretch, in that order, and when; by job, or of one job alone."""
        query = _FINISHED_OF_ONE if job_id else _FINISHED
        values = (job_id, after_ms, through_ms) if job_id else (after_ms, through_ms)
        found: dict[str, list[tuple[int, PastBuild]]] = {}
        with self._explained():
            for owner, dated_ms, build, detail, stages in self._connection.execute(query, values):
                past = _past_build(build, detail, stages)
                found.setdefault(owner, []).append((dated_ms, past))
        return found

    def told(self, job_id: str, through_ms: int) -> Iterator[tuple[int, PastBuild]]:
        """All builds of a job that finished by then, in that order, and when; one by one."""
        with self._explained():
            for _, dated_ms, build, detail, stages in self._connection.execute(
                _FINISHED_OF_ONE, (job_id, 0, through_ms)
            ):
                yield dated_ms, _past_build(build, detail, stages)

    def is_listed(self, job_id: str, number: int) -> bool:
        """Whether history told of a build."""
        query = "SELECT 1 FROM builds WHERE job_id = ? AND number = ? AND listed"
        with self._explained():
            return self._connection.execute(query, (job_id, number)).fetchone() is not None

    def newest_detailed(self) -> tuple[str, int] | None:
        """Job and number of the last build that was told in detail; None where none was."""
        query = "SELECT job_id, number FROM builds WHERE detail IS NOT NULL ORDER BY dated_ms DESC LIMIT 1"
        with self._explained():
            row = self._connection.execute(query).fetchone()
        return (row[0], row[1]) if row else None

    def newest_staged(self) -> str | None:
        """Record id of the last build whose stages were told; None where those of none were."""
        query = "SELECT detail FROM builds WHERE stages <> ? ORDER BY dated_ms DESC LIMIT 1"
        with self._explained():
            row = self._connection.execute(query, (_REFUSED,)).fetchone()
        return _DETAIL.validate_json(row[0]).record_id if row else None

    def without_detail(self) -> int:
        """How many builds the service would not tell more of than their history records."""
        return self._count("asked AND detail IS NULL AND dated_ms IS NOT NULL")

    def refused_stages(self) -> int:
        """How many builds there are whose stages the service would not tell."""
        return self._count(f"stages = '{_REFUSED}'")

    def undated(self) -> int:
        """How many builds have ended at a time that nobody tells."""
        return self._count(
            "dated_ms IS NULL AND coalesce(build ->> 'result', detail ->> 'result') IS NOT NULL"
        )

    def unreadable(self) -> int:
        """How many records of the histories cannot be read."""
        with self._explained():
            return int(self._connection.execute("SELECT total(unreadable) FROM windows").fetchone()[0])

    def contents(self) -> tuple[int, ...]:
        """Another tuple whenever other builds, details or stages are kept, or another date of one."""
        dates = "total(dated_ms / 1000000), total(dated_ms % 1000000)"  # sums that a float holds exactly
        query = f"SELECT count(*), total(asked), {dates}, count(detail), count(stages) FROM builds"  # noqa: S608
        with self._explained():
            return tuple(map(int, self._connection.execute(query).fetchone()))

    def _count(self, which: str) -> int:
        with self._explained():
            query = f"SELECT count(*) FROM builds WHERE {which}"  # noqa: S608 written above
            return int(self._connection.execute(query).fetchone()[0])

    def _find(self, job_id: str, number: int) -> PastBuild | None:
        query = "SELECT build, detail FROM builds WHERE job_id = ? AND number = ?"
        row = self._connection.execute(query, (job_id, number)).fetchone()
        return _past_build(*row) if row else None

    def _open(self) -> None:
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        application_id, version, objects = self._connection.execute(
            "SELECT * FROM pragma_application_id, pragma_user_version, (SELECT count(*) FROM sqlite_schema)"
        ).fetchone()
        if not objects:
            self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT")
        elif application_id != APPLICATION_ID:
            raise BackfillError(f"{self.path}: this file is not a backfill's; choose another --spool")
        elif version != VERSION:
            raise BackfillError(f"{self.path}: of another version; remove it, or choose another --spool")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained(), transaction(self._connection):
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            meaning = "another program has it open" if busy else error
            raise BackfillError(f"{self.path}: {meaning}") from None


def _row(job_id: str, one: PastBuild) -> tuple[object, ...]:
    build = _BUILD.dump_json(one.build, exclude_defaults=True).decode()
    detail = _DETAIL.dump_json(one.detail, exclude_defaults=True).decode() if one.detail else None
    return job_id, one.build.number, one.dated_ms, build, detail


def _past_build(build: str, detail: str | None, stages: str | None = None) -> PastBuild:
    return PastBuild(
        _BUILD.validate_json(build),
        _DETAIL.validate_json(detail) if detail else None,
        _STAGES.validate_json(stages) if stages else None,
    )
