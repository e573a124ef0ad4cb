"""Writes what a replay shows: as files for promtool, or as one stream."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from exporter.backfill.openmetrics import EOF, PastFamily, Stretch
from exporter.backfill.plan import PastJob, file_name
from exporter.backfill.replay import Replay
from exporter.errors import BackfillError


def exposed(families: Iterable[PastFamily], jobs: Iterable[Sequence[Stretch]]) -> Iterator[str]:
    """One whole exposition in handy pieces; nothing if there are no samples."""
    jobs = [stretches for stretches in jobs if stretches]
    if jobs:
        for family in families:
            yield from family.text(jobs)
        yield EOF


def streamed(
    families: Iterable[PastFamily],
    jobs: Iterable[PastJob],
    replay: Callable[[PastJob], Replay],
    before_ms: int,
) -> Iterator[str]:
    """One exposition of the whole period, a job in memory at a time; each job is replayed for each family."""
    jobs = list(jobs)
    for family in families:
        yield from family.text(replay(job).until(before_ms)[0] for job in jobs)
    yield EOF


def write_files(
    replay: Replay, chunks: Iterable[tuple[int, int]], families: Sequence[PastFamily], folder: Path
) -> Iterator[int]:
    """Write a file for each stretch of time, unless it is there already; bytes written, one by one.

    A file gets its name when it is whole, so a name stands for all of its content.

    Raises:
        BackfillError: one cannot be written; those before it stand.
    """
    for first_ms, before_ms in chunks:
        jobs = replay.until(before_ms)
        path = folder / file_name(first_ms)
        yield 0 if path.exists() else _write(path, exposed(families, jobs))


def _write(path: Path, text: Iterable[str]) -> int:
    draft = path.with_suffix(".tmp")
    size = 0
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            for piece in text:
                size += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if size:
            draft.rename(path)
        else:
            draft.unlink()
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BackfillError(f"{path}: cannot write: {error.strerror}") from None
    return size
