"""Ledgers in Redis or Valkey, for several replicas: the same rows, compare-and-set on a row's revision.

One hash holds all rows, ``job_id`` → ``revision row``; another holds the times when jobs without a row were
first watched. A commit names the revisions that it started from. If the server holds later ones, another
process has committed meanwhile; those rows are returned, and nothing is written: the total of a project must
not be kept without the ledgers that made it grow. So two replicas that watch one job by
mistake take turns, and neither counts what the other has counted.

A commit may be executed twice, or long after it was given up: its revision is then an old one, and it changes
nothing. After a failover to an older copy, the server receives the later state from its clients: with the
next commit of a job, and by `RedisStore.restore` for jobs without one.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from exporter.errors import StoreError, UnreadableRowsError
from exporter.ledger.job_ledger import JobLedger
from exporter.store.redis_errors import MEANINGS, meaning
from exporter.store.serialization import decode, encode

KEY: Final = "codearts-build-exporter:ledgers"
FIRST_WATCHED: Final = "codearts-build-exporter:first-watched"
_KEYS: Final = [KEY, FIRST_WATCHED]

_POLLED_MS: Final = re.compile(rb'"polled_ms":(\d{1,18})')
_TIMEOUT_S: Final = 5.0
_BATCH: Final = 500

_MOST_DIGITS: Final = 15
"""Digits of the latest time that a clock may have stored, in milliseconds."""

_COMMIT: Final = """
local newer = {}
for i = 1, #ARGV, 3 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  local revision = held and tonumber(string.match(held, '^(%d+) ') or math.huge)
  if held and revision > tonumber(ARGV[i + 1]) then
    table.insert(newer, ARGV[i])
    table.insert(newer, held)
  end
end
for i = 1, #newer == 0 and #ARGV or 0, 3 do
  redis.call('HSET', KEYS[1], ARGV[i], (ARGV[i + 1] + 1) .. ' ' .. ARGV[i + 2])
  redis.call('HDEL', KEYS[2], ARGV[i])
end
return newer
"""

_OLDER: Final = """
local older = {}
for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  local revision = held and tonumber(string.match(held, '^(%d+) ') or math.huge)
  if not held or revision < tonumber(ARGV[i + 1]) then
    table.insert(older, ARGV[i])
  end
end
return older
"""

_FIRST_WATCHED: Final = """
local times = {}
for i = 2, #ARGV do
  redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[1])
  table.insert(times, redis.call('HGET', KEYS[2], ARGV[i]))
end
return times
"""

_CORRECT_FIRST_WATCHED: Final = """
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  elseif redis.call('HGET', KEYS[2], ARGV[i]) then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
"""

_TRY_TO_WRITE: Final = """
return redis.pcall('HSET', KEYS[1], '', '', '')['err']
"""
"""Writes nothing: a field lacks its value, which the server reports after it has checked all permissions."""


class RedisStore:
    """Ledgers in a server that several exporters share.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix://`` for a socket.

    Raises:
        StoreError: the server cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            self._server = redis.Redis.from_url(
                url,
                # Supported by every server and proxy; the URL can override it.
                protocol=2,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),
                health_check_interval=30,
            )
            # The URL cannot override this: rows are bytes.
            self._server.connection_pool.connection_kwargs["decode_responses"] = False
            self._commit = self._server.register_script(_COMMIT)
            self._older = self._server.register_script(_OLDER)
            self._correct = self._server.register_script(_CORRECT_FIRST_WATCHED)
            self._first_watched = self._server.register_script(_FIRST_WATCHED)
            self._revisions: dict[str, int] = {}
            self._ask("cannot connect", self._server.ping)
        except (TypeError, ValueError):
            # Without details: an unreadable part may be a piece of the password.
            raise StoreError("redis: state.redis_url is wrong: its port, or an option behind its ?") from None

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """Read ledgers; if rows cannot be read, the error names one of the jobs, and none count as read."""
        ledgers = dict(held or {})
        revisions: dict[str, int] = {}
        unreadable: dict[str, str] = {}
        for batch in _batches(self._all_ids() if job_ids is None else job_ids):
            rows = self._ask("cannot read", partial(self._server.hmget, KEY, batch))
            found = {job_id: row for job_id, row in zip(batch, rows, strict=True) if row is not None}
            for job_id, (revision, ledger) in _parsed(found, unreadable).items():
                before = self._revisions.get(job_id, 0)
                if revision >= before or job_id not in ledgers:
                    ledgers[job_id] = ledger
                revisions[job_id] = max(before, revision)
        if unreadable:
            raise UnreadableRowsError("redis", unreadable)
        self._revisions |= revisions
        return ledgers

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Write all ledgers, or none if another process has changed some: those are returned as they are now.

        Raises:
            StoreError: the server did not confirm. If it has written them, the next commit returns them.
        """
        arguments: list[str | int] = []
        for job_id, ledger in changed.items():
            arguments += [job_id, self._revisions.get(job_id, 0), encode(ledger)]
        newer = self._ask("cannot write", lambda: self._commit(keys=_KEYS, args=arguments))
        if not newer:
            self._revisions |= {job_id: self._revisions.get(job_id, 0) + 1 for job_id in changed}
            return {}
        unreadable: dict[str, str] = {}
        found = {key.decode(): row for key, row in zip(newer[::2], newer[1::2], strict=True)}
        parsed = _parsed(found, unreadable)
        if unreadable:
            raise UnreadableRowsError("redis", unreadable)
        self._revisions |= {job_id: revision for job_id, (revision, _) in parsed.items()}
        conflicts = {job_id: ledger for job_id, (_, ledger) in parsed.items() if ledger != changed[job_id]}
        # Without any, all of those are from a first try whose response was lost.
        return conflicts or self.commit(changed)

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Rewrite rows that are missing or older on the server; after an error, some may be written."""
        restored = 0
        for batch in _batches(job_id for job_id in held if job_id in self._revisions):
            revisions = [value for job_id in batch for value in (job_id, self._revisions[job_id])]
            older = self._ask("cannot read", partial(self._older, keys=[KEY], args=revisions))
            rows: list[str | int] = []
            for job_id in map(bytes.decode, older):
                rows += [job_id, self._revisions[job_id] - 1, encode(held[job_id])]
            if rows:
                newer = self._ask("cannot write", partial(self._commit, keys=_KEYS, args=rows))
                restored += 0 if newer else len(older)
        return restored

    def refuse_unusable(self) -> None:
        """Check whether ledgers can be kept here, without changing anything.

        Raises:
            StoreError: they cannot.
        """
        if self._property(self._server.role, 0) not in (None, b"master"):
            raise StoreError("redis: cannot write: it is a replica; the exporter needs the master")
        if self._property(partial(self._server.info, "cluster"), "cluster_enabled") == 1:
            raise StoreError(f"redis: cannot write: {MEANINGS['CLUSTERDOWN']}")
        self._ask("cannot read", partial(self._server.hmget, KEY, [""]))
        self._ask("cannot write", partial(self._commit, keys=_KEYS, args=[]))
        self._ask("cannot write", partial(self._first_watched, keys=_KEYS, args=[0]))
        attempt = self._server.register_script(_TRY_TO_WRITE)
        for key in _KEYS:
            refusal = self._ask("cannot write", partial(attempt, keys=[key])).decode(errors="replace")
            if "number of arg" not in refusal:
                raise StoreError(f"redis: cannot write: {meaning(redis.ResponseError(refusal))}")

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """Record when jobs were first watched; after an error, some times may be recorded."""
        times: dict[str, int] = {}
        for batch in _batches(job_ids):
            script = partial(self._first_watched, keys=_KEYS, args=[at_ms, *batch])
            recorded = self._ask("cannot write", script)
            times |= {job_id: _time(ms, at_ms) for job_id, ms in zip(batch, recorded, strict=True)}
        return times

    def correct_first_watched(self, times: Mapping[str, int | None]) -> None:
        """Replace or delete recorded times; after an error, some may be."""
        for batch in _batches(times):
            arguments: list[str | int] = []
            for key in batch:
                time_ms = times[key]
                arguments += [key, "" if time_ms is None else time_ms]
            self._ask("cannot write", partial(self._correct, keys=_KEYS, args=arguments))

    def newest_poll_ms(self) -> int | None:
        """Return when the job that was polled last was polled; decoding all rows would take seconds."""
        rows = self._ask("cannot read", lambda: dict(self._server.hscan_iter(KEY, count=_BATCH)))
        found = filter(None, map(_POLLED_MS.search, rows.values()))
        return max((int(match[1]) for match in found), default=None)

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Delete old ledgers of unwatched jobs; after an error, some may be deleted."""
        deleted = self._delete(KEY, watched, partial(self._is_stale, before_ms=before_ms))
        self._delete(FIRST_WATCHED, watched, lambda _, ms: _time(ms, before_ms) < before_ms)
        return deleted

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _delete(self, key: str, watched: Collection[str], is_stale: Callable[[str, bytes], bool]) -> int:
        values = self._ask("cannot read", lambda: dict(self._server.hscan_iter(key, count=_BATCH)))
        stale = [
            job_id
            for job_id, value in values.items()
            if (name := job_id.decode(errors="replace")) not in watched and is_stale(name, value)
        ]
        if stale:
            self._ask("cannot write", lambda: self._server.hdel(key, *stale))
        return len(stale)

    def _is_stale(self, job_id: str, row: bytes, before_ms: int) -> bool:
        """Return whether a row is old; unreadable ones are not, since they may be of a later version."""
        return any(ledger.polled_ms < before_ms for _, ledger in _parsed({job_id: row}, {}).values())

    @staticmethod
    def _property(command: Callable[[], Any], key: int | str) -> Any:
        """Read a property of the server; None if the user may not ask for it."""
        try:
            return command()[key]
        except (redis.RedisError, LookupError, TypeError):
            return None

    def _all_ids(self) -> list[str]:
        keys = self._ask("cannot read", lambda: self._server.hkeys(KEY))
        return [job_id.decode(errors="replace") for job_id in keys]

    def _ask(self, doing: str, command: Callable[[], Any]) -> Any:
        try:
            return command()
        except (redis.RedisError, ValueError) as error:
            # The next command resolves the name and logs in again: the master may be another server by now.
            self._server.connection_pool.disconnect()
            raise StoreError(f"redis: {doing}: {meaning(error)}") from None


def _parsed(rows: Mapping[str, bytes], unreadable: dict[str, str]) -> dict[str, tuple[int, JobLedger]]:
    """Return revisions and ledgers of rows, by job id; reasons why not go to `unreadable`."""
    parsed = {}
    for job_id, row in rows.items():
        revision, _, body = row.partition(b" ")
        try:
            parsed[job_id] = int(revision), decode(body)
        except ValueError as error:
            unreadable[job_id] = str(error)
    return parsed


def _batches(job_ids: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(job_ids)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _time(recorded: bytes, otherwise_ms: int) -> int:
    """Parse a recorded time; unreadable and absurd ones are replaced."""
    return int(recorded) if recorded.isdigit() and len(recorded) <= _MOST_DIGITS else otherwise_ms
