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
from exporter.backfill.fetch_with_retries import Notices
from exporter.backfill.openmetrics import EOF, PastFamily, Segment, estimate_size
from exporter.backfill.past_build import PastBuild
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.replay import Replay
from exporter.backfill.spool import Spool
from exporter.errors import BackfillError, ConfigError
from exporter.humanize import format_bytes, plural
from exporter.poller import Rules

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
    """The destination of samples, and labels to add to each series.

    ``output`` is a folder or ``-`` for standard output; it is empty with the URL ``remote_write``.
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
class Output:
    """Writes the samples of jobs to a destination; ``settings`` are all settings of the metrics."""

    jobs: Sequence[PastJob]
    period: Period
    rules: Rules
    families: Sequence[PastFamily]
    spool: Spool
    to: Destination
    receiver: "RemoteWrite | None"
    settings: object
    say: Callable[[str], object]
    follow: Follow
    write_stdout: Callable[[Iterable[str]], object]

    def write(self) -> None:
        """Write all samples and report on them.

        Raises:
            ExporterError: they cannot be written or sent; what was written before stays.
        """
        size = estimate_size(self.jobs, self.families, self.period, self.rules, self._finished)
        text = format_bytes(size.bytes)
        self.say(f"about {size.series:,} series, {plural(size.samples, 'sample')}, {text} as text")
        if self.to.output == "-":
            self.write_stdout(self._stream())
            return
        target = self.to.labels, self.to.remote_write, self.settings
        inputs = (__version__, self.period, self.jobs, *target, self.spool.fingerprint())
        stamp = hashlib.sha256(repr(inputs).encode()).hexdigest()  # the same stamp means the same bytes
        replay = Replay(self.jobs, self.period, self.rules, self.spool)
        chunks = self.period.chunks(size.series)
        if self.receiver:
            self.follow(self._send(replay, chunks, stamp, self.receiver), len(chunks), "sending")
        else:
            self._write_files(replay, chunks, stamp, size.bytes)
        for reason, times in sorted(replay.faults.items()):
            self.say(f"{plural(times, 'time')} {reason}: docs/metrics.md explains it")

    def _finished(self, job: PastJob) -> Iterator[tuple[int, PastBuild]]:
        return self.spool.iter_finished(job.job.id, job.end_ms)

    def _stream(self) -> Iterator[str]:
        """Write the period as one exposition, with one job in memory; replays each job for each family."""
        for family in self.families:
            replays = (Replay([job], self.period, self.rules, self.spool) for job in self.jobs)
            yield from family.text(replay.advance(self.period.end_ms + 1)[0] for replay in replays)
        yield EOF

    def _write_files(self, replay: Replay, chunks: Sequence[tuple[int, int]], stamp: str, size: int) -> None:
        folder = Path(self.to.output)
        try:
            _prepare_folder(folder, stamp, size)
        except OSError as error:
            raise BackfillError(f"{folder}: {error.strerror}") from None
        self.follow(write_files(replay, chunks, self.families, folder), len(chunks), "files")
        self.say("Create TSDB blocks from them in Prometheus's storage.tsdb.path, as the user it runs as:")
        self.say(
            f'  for file in {folder}/*.om; do promtool tsdb create-blocks-from openmetrics "$file" PATH; done'
        )

    def _send(
        self, replay: Replay, chunks: Iterable[tuple[int, int]], stamp: str, receiver: "RemoteWrite"
    ) -> Iterator[int]:
        sent_stamp, _, before = (self.spool.get(_SENT_KEY) or "").partition(" ")
        sent_before_ms = int(before) if sent_stamp == stamp else 0
        for _, before_ms in chunks:
            jobs = replay.advance(before_ms)
            if before_ms > sent_before_ms:
                receiver.send_all(metric for f in self.families for job in jobs for metric in f.metrics(job))
            self.spool.put(_SENT_KEY, f"{stamp} {before_ms}")
            yield before_ms


def prepare(to: Destination, notices: Notices) -> "RemoteWrite | None":
    """Create a missing folder, or return the receiver of remote write.

    Raises:
        ExporterError: the destination is invalid, or has files of another program.
    """
    if to.remote_write:
        try:
            from exporter.backfill.remote_write import RemoteWrite
        except ImportError:
            raise ConfigError(
                "--remote-write needs the extra: pip install 'codearts-build-exporter[remote-write]'"
            ) from None
        return RemoteWrite(to.remote_write, to.headers, requests.Session(), notices)
    if to.output != "-":
        try:
            Path(to.output).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackfillError(f"{to.output}: cannot create the folder: {error.strerror}") from None
        _refuse_foreign(Path(to.output))
    return None


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder with .om files that no backfill wrote: they would be imported with ours, or removed."""
    is_ours = (folder / _STAMP).exists()
    if foreign := [file.name for file in folder.glob("*.om") if not (is_ours and file.match(_FILES))]:
        raise BackfillError(
            f"{folder}: contains .om files of another program ({min(foreign)}); choose another --output"
        )


def _prepare_folder(folder: Path, stamp: str, size: int) -> None:
    """Remove files of another backfill, keep those of this one, and check the free space."""
    _refuse_foreign(folder)
    stamp_file = folder / _STAMP
    files = list(folder.glob(_FILES))
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


def write_files(
    replay: Replay, chunks: Iterable[tuple[int, int]], families: Sequence[PastFamily], folder: Path
) -> Iterator[int]:
    """Write a file for each chunk unless it exists, and yield the bytes written; all files are complete.

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
