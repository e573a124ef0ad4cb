"""Writes a backfill to files, standard output or remote write; resumes where it was interrupted."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import requests

from exporter import __version__
from exporter.backfill.openmetrics import EOF, PastFamily, Segment, Size, estimate_size
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.replay import Replay
from exporter.backfill.retry import Notices
from exporter.backfill.spool import Spool
from exporter.errors import BackfillError, ConfigError
from exporter.poller import Rules
from exporter.text import format_bytes, plural

if TYPE_CHECKING:
    from exporter.backfill.remote_write import RemoteWrite

_FILES: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9].om"
_STAMP: Final = "backfill.stamp"
"""Beside the files; names the backfill they belong to."""
_SENT_KEY: Final = "sent"

Follow = Callable[[Iterable[object], int, str], object]
"""Runs all steps and shows progress, given their number and a label."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where samples go, and labels added to each series.

    Attributes:
        output: a folder, ``-`` for standard output, or empty.
        remote_write: a URL, or empty.
        headers: for remote write.
        labels: added to every series.
    """

    output: str
    remote_write: str
    headers: Mapping[str, str]
    labels: Mapping[str, str]

    def check_labels(self, taken: Iterable[str]) -> None:
        """Check the labels against those that the metrics have.

        Raises:
            ConfigError: a label is invalid.
        """
        taken = {*taken, "le"}
        for name, value in self.labels.items():
            if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
                raise ConfigError(f"--label: {name} is not a valid label name")
            if not value:
                raise ConfigError(f"--label: {name} has no value, which is the same as no label")
            if name in taken:
                raise ConfigError(f"--label: the metrics already have a label {name}")


@dataclass(frozen=True, slots=True)
class Contents:
    """The samples to write.

    Attributes:
        jobs: to write.
        period: of the samples.
        rules: from the configuration.
        families: writers of the metric families.
        spool: the builds, and how much has been sent.
        settings: all settings of the metrics.
    """

    jobs: Sequence[PastJob]
    period: Period
    rules: Rules
    families: Sequence[PastFamily]
    spool: Spool
    settings: object

    def size(self) -> Size:
        """Estimate the size of the output."""
        return estimate_size(
            self.jobs,
            self.families,
            self.period,
            self.rules,
            lambda job: self.spool.iter_finished(job.job.id, job.end_ms),
        )

    def replay(self, jobs: Sequence[PastJob]) -> Replay:
        """Replay some of the jobs from the start."""
        return Replay(jobs, self.period, self.rules, self.spool)

    def stamp(self, to: Destination) -> str:
        """Hash everything that affects the output: the same stamp means the same bytes."""
        inputs = (
            __version__,
            self.period,
            self.jobs,
            to.labels,
            to.remote_write,
            self.settings,
            self.spool.fingerprint(),
        )
        return hashlib.sha256(repr(inputs).encode()).hexdigest()


class Output:
    """Writes samples to a destination.

    Args:
        to: the destination; a missing folder is created.
        notices: get messages.
        follow: shows progress.
        write_stdout: writes pieces of text to standard output.

    Raises:
        ExporterError: the destination is invalid.
    """

    def __init__(
        self,
        to: Destination,
        notices: Notices,
        follow: Follow,
        write_stdout: Callable[[Iterable[str]], object],
    ) -> None:
        self._to = to
        self._say = notices.say
        self._follow = follow
        self._write_stdout = write_stdout
        self._receiver = _open_receiver(to, notices) if to.remote_write else None
        if not to.remote_write and to.output != "-":
            try:
                Path(to.output).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BackfillError(f"{to.output}: cannot create the folder: {error.strerror}") from None

    def write(self, contents: Contents) -> None:
        """Write all samples and report on them.

        Raises:
            ExporterError: they cannot be written or sent; what was written before stays.
        """
        size = contents.size()
        text = format_bytes(size.bytes)
        self._say(f"about {size.series:,} series, {plural(size.samples, 'sample')}, {text} as text")
        if self._to.output == "-":
            self._write_stdout(stream(contents))
            return
        replay = contents.replay(contents.jobs)
        chunks = contents.period.chunks(size.series)
        if self._receiver:
            self._send(contents, replay, chunks, self._receiver)
        else:
            self._write_files(contents, replay, chunks, size.bytes)
        for reason, times in sorted(replay.faults.items()):
            self._say(f"{plural(times, 'time')} {reason}: docs/metrics.md explains it")

    def _write_files(
        self, contents: Contents, replay: Replay, chunks: Sequence[tuple[int, int]], size: int
    ) -> None:
        folder = Path(self._to.output)
        try:
            _prepare_folder(folder, contents.stamp(self._to), size)
        except OSError as error:
            raise BackfillError(f"{folder}: {error.strerror}") from None
        self._follow(write_files(replay, chunks, contents.families, folder), len(chunks), "files")
        self._say("Create TSDB blocks from them in Prometheus's storage.tsdb.path, as the user it runs as:")
        self._say(
            f'  for file in {folder}/*.om; do promtool tsdb create-blocks-from openmetrics "$file" PATH; done'
        )

    def _send(
        self, contents: Contents, replay: Replay, chunks: Sequence[tuple[int, int]], receiver: "RemoteWrite"
    ) -> None:
        stamp, spool = contents.stamp(self._to), contents.spool
        sent_stamp, _, before = (spool.get(_SENT_KEY) or "").partition(" ")
        sent_before_ms = int(before) if sent_stamp == stamp else 0

        def send() -> Iterator[int]:
            for _, before_ms in chunks:
                jobs = replay.advance(before_ms)
                if before_ms > sent_before_ms:
                    receiver.send_metrics(
                        metric
                        for family in contents.families
                        for segments in jobs
                        for metric in family.metrics(segments)
                    )
                spool.put(_SENT_KEY, f"{stamp} {before_ms}")
                yield before_ms

        self._follow(send(), len(chunks), "sending")


def _open_receiver(to: Destination, notices: Notices) -> "RemoteWrite":
    try:
        from exporter.backfill.remote_write import RemoteWrite
    except ImportError:
        raise ConfigError(
            "--remote-write needs the extra: pip install 'codearts-build-exporter[remote-write]'"
        ) from None
    return RemoteWrite(to.remote_write, to.headers, requests.Session(), notices)


def _prepare_folder(folder: Path, stamp: str, size: int) -> None:
    """Remove files of another backfill, keep those of this one, and check the free space."""
    stamp_file = folder / _STAMP
    files = list(folder.glob(_FILES))
    if files and not stamp_file.exists():
        raise BackfillError(f"{folder}: contains .om files of another program; choose another --output")
    if not stamp_file.exists() or stamp_file.read_text() != stamp:
        for file in files:
            file.unlink()
        files = []
        stamp_file.write_text(stamp)
    needed = size - sum(file.stat().st_size for file in files)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BackfillError(
            f"{folder}: about {format_bytes(needed)} needed, {format_bytes(free)} free; "
            "a larger --step writes less, --remote-write needs no disk"
        )


def stream(contents: Contents) -> Iterator[str]:
    """Write the period as one exposition, with one job in memory; replays each job for each family."""
    before_ms = contents.period.end_ms + 1
    for family in contents.families:
        yield from family.text(contents.replay([job]).advance(before_ms)[0] for job in contents.jobs)
    yield EOF


def write_files(
    replay: Replay, chunks: Iterable[tuple[int, int]], families: Sequence[PastFamily], folder: Path
) -> Iterator[int]:
    """Write a file for each chunk unless it exists, and yield the bytes written.

    A file gets its name when it is complete.

    Raises:
        BackfillError: a file cannot be written; those before it stay.
    """
    for first_ms, before_ms in chunks:
        jobs = replay.advance(before_ms)
        path = folder / file_name(first_ms)
        yield 0 if path.exists() else _write(path, _exposition(families, jobs))


def file_name(first_ms: int) -> str:
    """The name of the file whose samples begin then; names sort by time."""
    return f"{datetime.fromtimestamp(first_ms / 1000, UTC):%Y-%m-%dT%H}.om"


def _exposition(families: Iterable[PastFamily], jobs: Iterable[Sequence[Segment]]) -> Iterator[str]:
    jobs = [segments for segments in jobs if segments]
    if jobs:
        for family in families:
            yield from family.text(jobs)
        yield EOF


def _write(path: Path, text: Iterable[str]) -> int:
    partial = path.with_suffix(".tmp")
    size = 0
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for piece in text:
                size += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if size:
            partial.rename(path)
        else:
            partial.unlink()
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BackfillError(f"{path}: cannot write: {error.strerror}") from None
    return size
