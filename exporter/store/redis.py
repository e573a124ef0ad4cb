"""Ledgers in Redis or Valkey, for several replicas: the same rows, compare-and-set on a row's revision.

One hash holds all rows, ``job_id`` → ``revision row``; another one, when jobs were first watched that have no
row yet. A commit names the revision it started from; where the
server holds a later one, somebody else has committed meanwhile, and what they wrote comes back instead. So
two replicas that watch one job by mistake take turns, and neither counts what the other has counted.

A commit may be heard twice, or heard when it was given up long ago: its revision is then an old one, and it
changes nothing. A server that fell back to an older copy is given the later state by those who hold it: with
the next commit of a job, and by `RedisStore.restore` for jobs that have none.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from exporter.errors import StoreError
from exporter.ledger import JobLedger
from exporter.store.redis_errors import MEANINGS, meaning
from exporter.store.serialization import decode, encode

KEY: Final = "codearts-build-exporter:ledgers"
FIRST_WATCHED: Final = "codearts-build-exporter:first-watched"
_KEYS: Final = [KEY, FIRST_WATCHED]

_TIMEOUT_S: Final = 5.0
_BATCH: Final = 500

_COMMIT: Final = """
local newer = {}
for at = 1, #ARGV, 3 do
  local held = redis.call('HGET', KEYS[1], ARGV[at])
  local revision = held and tonumber(string.match(held, '^(%d+) ') or math.huge)
  if held and revision > tonumber(ARGV[at + 1]) then
    table.insert(newer, ARGV[at])
    table.insert(newer, held)
  else
    redis.call('HSET', KEYS[1], ARGV[at], (ARGV[at + 1] + 1) .. ' ' .. ARGV[at + 2])
    redis.call('HDEL', KEYS[2], ARGV[at])
  end
end
return newer
"""

_OLDER: Final = """
local older = {}
for at = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[at])
  local revision = held and tonumber(string.match(held, '^(%d+) ') or math.huge)
  if not held or revision < tonumber(ARGV[at + 1]) then
    table.insert(older, ARGV[at])
  end
end
return older
"""

_FIRST_WATCHED: Final = """
local moments = {}
for at = 2, #ARGV do
  redis.call('HSETNX', KEYS[2], ARGV[at], ARGV[1])
  table.insert(moments, redis.call('HGET', KEYS[2], ARGV[at]))
end
return moments
"""

_TRY_TO_WRITE: Final = """
return redis.pcall('HSET', KEYS[1], '', '', '')['err']
"""
"""Writes nothing: a field lacks its value, which the server notices after it has looked at all rights."""


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
                # What every server and proxy understands; the URL may say otherwise.
                protocol=2,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),
                health_check_interval=30,
            )
            # Whatever the URL says: rows are bytes.
            self._server.connection_pool.connection_kwargs["decode_responses"] = False
            self._commit = self._server.register_script(_COMMIT)
            self._older = self._server.register_script(_OLDER)
            self._first_watched = self._server.register_script(_FIRST_WATCHED)
            self._revisions: dict[str, int] = {}
            self._ask("cannot connect", self._server.ping)
        except (TypeError, ValueError):
            # Not told in full: what cannot be read may be a piece of the password.
            raise StoreError("redis: state.redis_url is wrong: its port, or an option behind its ?") from None

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """The ledgers that were committed for those jobs, or all; jobs without one are left out.

        Args:
            job_ids: the jobs; None for all.
            held: as loaded or committed here before; where the server has only older ones, they stand.

        Raises:
            StoreError: the server does not answer, or a row cannot be read; it names the job.
        """
        ledgers = dict(held or {})
        ordered = list(job_ids) if job_ids is not None else self._all_ids()
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            rows = self._ask("cannot read", partial(self._server.hmget, KEY, batch))
            for job_id, row in zip(batch, rows, strict=True):
                if row is not None:
                    known = self._revisions.get(job_id, 0)
                    ledger = self._read(job_id, row)
                    if self._revisions[job_id] >= known:
                        ledgers[job_id] = ledger
                    else:
                        ledgers.setdefault(job_id, ledger)
                    self._revisions[job_id] = max(known, self._revisions[job_id])
        return ledgers

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Keep those that nobody else has changed meanwhile; the others come back as they are now.

        Raises:
            StoreError: the server did not confirm. What it has kept all the same comes back at the next
                commit of the same job.
        """
        arguments: list[str | int] = []
        for job_id, ledger in changed.items():
            arguments += [job_id, self._revisions.get(job_id, 0), encode(ledger)]
        told = self._ask("cannot write", lambda: self._commit(keys=_KEYS, args=arguments))
        pairs = zip(told[::2], told[1::2], strict=True)
        held = {job_id.decode(): self._read(job_id.decode(), row) for job_id, row in pairs}
        for job_id in changed.keys() - held.keys():
            self._revisions[job_id] = self._revisions.get(job_id, 0) + 1
        # What is held may be what was sent: the answer to a first try was lost.
        return {job_id: ledger for job_id, ledger in held.items() if ledger != changed[job_id]}

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Write again the rows that the server holds older than they were loaded or committed here, or not.

        Raises:
            StoreError: the server does not answer; some may have been written.
        """
        known = [job_id for job_id in held if job_id in self._revisions]
        restored = 0
        for start in range(0, len(known), _BATCH):
            revisions = {job_id: self._revisions[job_id] for job_id in known[start : start + _BATCH]}
            asked = [value for pair in revisions.items() for value in pair]
            told = self._ask("cannot read", partial(self._older, keys=[KEY], args=asked))
            rows: list[str | int] = []
            for job_id in map(bytes.decode, told):
                rows += [job_id, revisions[job_id] - 1, encode(held[job_id])]
            if rows:
                kept = self._ask("cannot write", partial(self._commit, keys=_KEYS, args=rows))
                restored += len(told) - len(kept) // 2
        return restored

    def refuse_unusable(self) -> None:
        """Find out whether ledgers can be kept here; changes nothing.

        Raises:
            StoreError: they cannot; it says why.
        """
        if self._told(self._server.role, 0) not in (None, b"master"):
            raise StoreError("redis: cannot write: it is a replica; the exporter needs the master")
        if self._told(partial(self._server.info, "cluster"), "cluster_enabled") == 1:
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
        """Keep the moment when jobs without a ledger were first watched, unless there is one.

        Raises:
            StoreError: the server did not confirm; some moments may be kept.
        """
        moments: dict[str, int] = {}
        ordered = list(job_ids)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            told = self._ask("cannot write", partial(self._first_watched, keys=_KEYS, args=[at_ms, *batch]))
            moments |= {job_id: _moment(kept, at_ms) for job_id, kept in zip(batch, told, strict=True)}
        return moments

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Drop what is kept of jobs that are not watched and were last polled before then; how many ledgers.

        Raises:
            StoreError: the server does not answer; some may have been dropped.
        """
        rows = self._ask("cannot read", lambda: dict(self._server.hscan_iter(KEY, count=_BATCH)))
        stale = [
            job_id
            for job_id, row in rows.items()
            if (name := job_id.decode(errors="replace")) not in watched
            and self._is_stale(name, row, before_ms)
        ]
        if stale:
            self._ask("cannot write", lambda: self._server.hdel(KEY, *stale))
        moments = self._ask("cannot read", lambda: dict(self._server.hscan_iter(FIRST_WATCHED, count=_BATCH)))
        left = [
            job_id
            for job_id, kept in moments.items()
            if job_id.decode(errors="replace") not in watched and _moment(kept, before_ms) < before_ms
        ]
        if left:
            self._ask("cannot write", lambda: self._server.hdel(FIRST_WATCHED, *left))
        return len(stale)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    @staticmethod
    def _told(question: Callable[[], Any], at: int | str) -> Any:
        """What the server says of itself; None where the user may not ask."""
        try:
            return question()[at]
        except (redis.RedisError, LookupError, TypeError):
            return None

    def _all_ids(self) -> list[str]:
        return [
            job_id.decode(errors="replace")
            for job_id in self._ask("cannot read", lambda: self._server.hkeys(KEY))
        ]

    def _read(self, job_id: str, row: bytes) -> JobLedger:
        self._revisions[job_id], ledger = self._parse(job_id, row)
        return ledger

    def _is_stale(self, job_id: str, row: bytes, before_ms: int) -> bool:
        """Rows that cannot be read, of a later version perhaps, are somebody else's to judge."""
        try:
            return self._parse(job_id, row)[1].polled_ms < before_ms
        except StoreError:
            return False

    @staticmethod
    def _parse(job_id: str, row: bytes) -> tuple[int, JobLedger]:
        revision, _, body = row.partition(b" ")
        try:
            return int(revision), decode(body)
        except ValueError as error:
            raise StoreError(f"redis: the ledger of job {job_id}: {error}") from None

    def _ask(self, doing: str, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (redis.RedisError, ValueError) as error:
            # The next question resolves the name and logs in again: the master may be another server by now.
            self._server.connection_pool.disconnect()
            raise StoreError(f"redis: {doing}: {meaning(error)}") from None


def _moment(kept: bytes, otherwise_ms: int) -> int:
    """A moment as it is kept; another one where it cannot be read."""
    return int(kept) if kept.isdigit() else otherwise_ms
