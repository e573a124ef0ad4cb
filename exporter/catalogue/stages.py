"""The metrics of stages, which are there where stages are measured."""

from typing import Final

from exporter.catalogue.families import JOB_LABELS, Family, JobView, Kind, Samples


def _durations(view: JobView) -> Samples:
    if view.ledger:
        for name, durations in view.ledger.stages.durations.items():
            yield (name,), durations


def _last(view: JobView) -> Samples:
    if view.ledger and view.ledger.stages.last:
        for name, length_ms in view.ledger.stages.last.lengths.items():
            yield (name,), length_ms / 1000


def _read(view: JobView) -> object:
    return view.ledger and view.ledger.stages


STAGE_FAMILIES: Final[tuple[Family[JobView], ...]] = (
    Family(
        "codearts_build_stage_duration_seconds",
        Kind.HISTOGRAM,
        "How long the stages of finished builds took, waiting included.",
        (*JOB_LABELS, "stage"),
        _durations,
        _read,
    ),
    Family(
        "codearts_build_last_build_stage_duration_seconds",
        Kind.GAUGE,
        "How long the stages took of the finished build with the highest number whose stages are known.",
        (*JOB_LABELS, "stage"),
        _last,
        _read,
    ),
)
