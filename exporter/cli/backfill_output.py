"""Where a backfill goes: files, standard output or remote write; each goes on where it was stopped before."""

import hashlib
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import requests

from exporter import __version__
from exporter.app import families_of, rules
from exporter.backfill import (
    Notices,
    PastBuild,
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
from exporter.cli.progress import follow, say
from exporter.cli.terminal import cannot_write
from exporter.config import Config
from exporter.doctor import plural
from exporter.errors import BackfillError, ConfigError
from exporter.poller import Intervals
from exporter.text import in_bytes

if TYPE_CHECKING:
    from exporter.backfill.remote_write import RemoteWrite

_FILES: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9].om"
_STAMP: Final = "backfill.stamp"
"""Lies beside the files and tells which backfill they are of."""
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


def receiver_of(to: Destination, notices: Notices) -> "RemoteWrite | None":
    """Whatever samples are sent to; None where they are written. Folders are made here too.

    Raises:
        ExporterError: there is something wrong with the destination.
    """
    if not to.remote_write:
        if to.output != "-":
            _make_folder(Path(to.output))
        return None
    try:
        from exporter.backfill.remote_write import RemoteWrite
    except ImportError:
        raise ConfigError(
            "--remote-write needs the extra: pip install 'codearts-build-exporter[remote-write]'"
        ) from None
    return RemoteWrite(to.remote_write, to.headers, requests.Session(), notices)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackfillError(f"{folder}: cannot make the folder: {error.strerror}") from None


class Output:
    """What is put out of one spool.

    Args:
        config: gives labels, buckets and rules.
        jobs: those that are put out.
        period: their samples.
        spool: what was answered, and what was put out before.
        to: the destination.
        receiver: of remote write.
    """

    def __init__(
        self,
        config: Config,
        jobs: list[PastJob],
        period: Period,
        spool: Spool,
        to: Destination,
        receiver: "RemoteWrite | None",
    ) -> None:
        self._receiver = receiver
        self._jobs = jobs
        self._period = period
        self._spool = spool
        self._to = to
        self._rules = rules(config, Intervals.of(config).longest)
        self._families: list[PastFamily] = past_families(families_of(config), to.labels)
        # All that decides about a byte of the output: two with the same stamp put out the same.
        same = (__version__, period, jobs, to.labels, to.remote_write, config.metrics, spool.contents())
        self._stamp = hashlib.sha256(repr(same).encode()).hexdigest()

    def put(self) -> None:
        """Do it, and tell of it.

        Raises:
            ExporterError: it cannot be written or sent; what was put out before stands.
        """
        expected = size(self._jobs, self._families, self._period, self._rules, self._told)
        text = in_bytes(expected.bytes)
        say(f"about {expected.series:,} series, {plural(expected.samples, 'sample')}, {text} as text")
        if self._to.output == "-":
            self._stream()
            return
        replay = self._replay(self._jobs)
        chunks = self._period.chunks(expected.series)
        if self._receiver:
            self._send(replay, chunks, self._receiver)
        else:
            self._write(replay, chunks, expected)
        for reason, times in sorted(replay.faults.items()):
            say(f"{plural(times, 'time')} {reason}: docs/metrics.md explains it")

    def _told(self, one: PastJob) -> Iterator[tuple[int, PastBuild]]:
        return self._spool.told(one.job.id, one.end_ms)

    def _replay(self, jobs: list[PastJob]) -> Replay:
        return Replay(jobs, self._period, self._rules, self._spool)

    def _stream(self) -> None:
        before_ms = self._period.end_ms + 1
        try:
            for text in streamed(self._families, self._jobs, lambda job: self._replay([job]), before_ms):
                sys.stdout.buffer.write(text.encode())
            sys.stdout.buffer.flush()
        except OSError as error:
            raise cannot_write(error) from None

    def _write(self, replay: Replay, chunks: list[tuple[int, int]], expected: Size) -> None:
        folder = Path(self._to.output)
        try:
            self._make_room(folder, expected.bytes)
        except OSError as error:
            raise BackfillError(f"{folder}: {error.strerror}") from None
        follow(write_files(replay, chunks, self._families, folder), len(chunks), "files")
        say("Make blocks of them in Prometheus's storage.tsdb.path, as the user that it runs as:")
        say(
            f'  for file in {folder}/*.om; do promtool tsdb create-blocks-from openmetrics "$file" PATH; done'
        )

    def _make_room(self, folder: Path, size: int) -> None:
        """Files of another backfill of ours go; those of this one stay."""
        stamp = folder / _STAMP
        files = list(folder.glob(_FILES))
        if files and not stamp.exists():
            raise BackfillError(f"{folder}: holds .om files of somebody else; choose another --output")
        if not stamp.exists() or stamp.read_text() != self._stamp:
            for file in files:
                file.unlink()
            files = []
            stamp.write_text(self._stamp)
        missing = size - sum(file.stat().st_size for file in files)
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise BackfillError(
                f"{folder}: about {in_bytes(missing)} will be written, {in_bytes(free)} are free; "
                "a larger --step writes less, --remote-write needs no disk"
            )

    def _send(self, replay: Replay, chunks: list[tuple[int, int]], receiver: "RemoteWrite") -> None:
        from exporter.backfill.remote_write import send_all

        stamp, _, before = (self._spool.recall(_SENT) or "").partition(" ")
        sent_before_ms = int(before) if stamp == self._stamp else 0
        done = send_all(replay, chunks, self._families, receiver, sent_before_ms)
        follow(self._noted(done), len(chunks), "sending")

    def _noted(self, done: Iterable[int]) -> Iterator[int]:
        for before_ms in done:
            self._spool.note(_SENT, f"{self._stamp} {before_ms}")
            yield before_ms
