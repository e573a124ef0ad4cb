"""What is handed to a thread, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.ledger import JobLedger
from exporter.model import RecycleBin
from exporter.poller.poll import Polled
from exporter.poller.stages import Told, job_of
from exporter.poller.swept import Swept


@dataclass(frozen=True, slots=True)
class Work:
    """A task, and all it needs to know.

    Attributes:
        ledger: of the job, as committed.
        assured_ms: when a job list last showed that nothing was new with it.
        lists: of the sweep, which lists to read, and how long they were before.
        own_lists: of the sweep, the same of the watched projects, where the list of all jobs does not do.
        unnamed: of the sweep, the projects whose names are wanted.
        has_room: whether builds may bring label combinations that were not there before.
        failures_count: of stages, whether what fails counts as a try.
        goes_on: the poll before left details to ask for.
        watched_at: when the job was first watched, monotonic seconds, if it was never polled.
    """

    task: str
    ledger: JobLedger | None = None
    assured_ms: int | None = None
    lists: Mapping[str, int] = field(default_factory=dict)
    own_lists: Mapping[str, int] = field(default_factory=dict)
    unnamed: frozenset[str] = frozenset()
    has_room: bool = True
    failures_count: bool = False
    goes_on: bool = False
    watched_at: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: what it brought, or why it failed.

    Attributes:
        before: the ledger that the task began with.
    """

    task: str
    brought: Polled | Told | RecycleBin | Swept | None = None
    error: Exception | None = None
    before: JobLedger | None = None

    @property
    def job_id(self) -> str:
        """The job that the task is for; the task itself where it is for none."""
        return job_of(self.task)
