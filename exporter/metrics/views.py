"""The published state of a job and of the fleet, from which metrics and status pages are made; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.ledger.build_labels import BuildLabels
from exporter.ledger.job_ledger import JobLedger
from exporter.model import Job, RecycleBin


@dataclass(frozen=True, slots=True)
class JobView:
    """Published state of one watched job.

    Attributes:
        ledger: as committed; None before the first successful poll.
        up: whether the last poll succeeded; None before the first one ended.
        failure: why it did not; empty if it did.
        deleted: whether the job is in the recycle bin; None while unknown.
        checked_ms: when the job was last known to be up to date, by a poll or by a job list.
        disabled: whether the job is disabled; None if no job list says so.
        held: exposed labels of finished builds that still show 0.
    """

    job: Job
    ledger: JobLedger | None = None
    up: bool | None = None
    failure: str = ""
    deleted: bool | None = None
    disabled: bool | None = None
    checked_ms: int | None = None
    held: frozenset[BuildLabels] = frozenset()


@dataclass(frozen=True, slots=True)
class FleetView:
    """Everything that is published, at one moment.

    Attributes:
        jobs: the watched jobs.
        recycle_bin: as last read; None before.
        totals: of the projects of the jobs, if jobs have no histograms of their own; each in the form of a
            job without a name.
        projects: known names of CodeArts projects by id.
        is_complete: every job has been polled, restored from the store, or refused by the API, and the jobs
            of watched projects are known as far as the API lists them.
    """

    jobs: tuple[JobView, ...] = ()
    recycle_bin: RecycleBin | None = None
    projects: Mapping[str, str] = field(default_factory=dict)
    totals: tuple[JobView, ...] = ()
    is_complete: bool = False
