"""Where a backfill goes: files, standard output or remote write; each goes on where it was stopped before."""

import hashlib
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from exporter.backfill import (
    PastFamily,
    PastJob,
    Period,
    Replay,
    Size,
    Spool,
    past_families,
    size,
    streamed,
    write_files,
)
from exporter.catalogue import job_families
from exporter.cli.telling import follow, in_bytes, say
from exporter.cli.wiring import rules
from exporter.config import Config
from exporter.errors import BackfillError, ConfigError
from exporter.poller import Intervals

_FILES: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9].om"
_WRITTEN: Final = "written"
_SENT: Final = "sent"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to, and what is added to each series.

    Attributes:
        output: a folder, ``-`` for standard output, or empty.
        remote_write: a URL, or empty.
        headers: for remote write.
        labels: that every series gets.
    """

    output: str
    remote_write: str
    headers: Mapping[str, str]
    labels: Mapping[str, str]


class Output:
    """What is put out of one spool.

    Args:
        config: gives labels, buckets and rules.
        jobs: those that are put out.
        period: their samples.
        spool: what was answered, and what was put out before.
        to: the destination.
    """

    def __init__(
        self, config: Config, jobs: list[PastJob], period: Period, spool: Spool, to: Destination
    ) -> None:
        self._jobs = jobs
        self._period = period
        self._spool = spool
        self._to = to
        self._rules = rules(config, Intervals(config.poll.interval, config.poll.max_interval, None).longest)
        families = job_families(config.metrics.extra_labels, stages=config.metrics.stages)
        self._families: list[PastFamily] = past_families(families, to.labels)
        same = (period, jobs, to.labels, to.remote_write, config.metrics, spool.contents())
        self._stamp = hashlib.sha256(repr(same).encode()).hexdigest()

    def put(self) -> None:
        """Do it, and tell of it.

        Raises:
            ExporterError: it cannot be written or sent; what was put out before stands.
        """
        expected = size(self._jobs, self._families, self._period, self._rules)
        text = in_bytes(expected.bytes)
        say(f"{expected.series:,} series, {expected.samples:,} samples, about {text} as text")
        if self._to.output == "-":
            self._stream()
            return
        replay = self._replay(self._jobs)
        chunks = self._period.chunks(expected.series)
        if self._to.remote_write:
            self._send(replay, chunks)
        else:
            self._write(replay, chunks, expected)
        for reason, times in sorted(replay.faults.items()):
            say(f"{times:,} times {reason}: the build is counted, that value is not")

    def _replay(self, jobs: list[PastJob]) -> Replay:
        return Replay(jobs, self._period, self._rules, self._spool)

    def _stream(self) -> None:
        before_ms = self._period.end_ms + 1
        for text in streamed(self._families, self._jobs, lambda job: self._replay([job]), before_ms):
            sys.stdout.write(text)

    def _write(self, replay: Replay, chunks: list[tuple[int, int]], expected: Size) -> None:
        """Files of another backfill go first; those of this one stay."""
        folder = Path(self._to.output)
        if self._spool.recall(_WRITTEN) != self._stamp:
            for file in folder.glob(_FILES):
                file.unlink()
            self._spool.note(_WRITTEN, self._stamp)
        there = sum(file.stat().st_size for file in folder.glob(_FILES))
        missing, free = expected.bytes - there, shutil.disk_usage(folder).free
        if missing > free:
            raise BackfillError(
                f"{folder}: {in_bytes(missing)} will be written, {in_bytes(free)} are free; "
                "a larger --step writes less, --remote-write needs no disk"
            )
        follow(write_files(replay, chunks, self._families, folder), len(chunks), "files")
        say("Make blocks of them in Prometheus's storage.tsdb.path, as the user that it runs as:")
        say(
            f'  for file in {folder}/*.om; do promtool tsdb create-blocks-from openmetrics "$file" PATH; done'
        )

    def _send(self, replay: Replay, chunks: list[tuple[int, int]]) -> None:
        try:
            from exporter.backfill.remote_write import RemoteWrite, send_all
        except ImportError:
            raise ConfigError(
                "--remote-write needs the extra: pip install 'codearts-build-exporter[remote-write]'"
            ) from None
        receiver = RemoteWrite(self._to.remote_write, self._to.headers, requests.Session())
        stamp, _, before = (self._spool.recall(_SENT) or "").partition(" ")
        sent_before_ms = int(before) if stamp == self._stamp else 0
        done = send_all(replay, chunks, self._families, receiver, sent_before_ms)
        follow(self._noted(done), len(chunks), "sending")

    def _noted(self, done: Iterable[int]) -> Iterator[int]:
        for before_ms in done:
            self._spool.note(_SENT, f"{self._stamp} {before_ms}")
            yield before_ms
