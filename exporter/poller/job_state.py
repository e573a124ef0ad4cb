"""The one record that the poller keeps of each watched job, and how observations change its ledger; pure.

A worker returns observations. The coordinator folds them into the ledger of the moment, whatever has happened
since the worker began: the rules of the ledger make the order irrelevant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from exporter.ledger import (
    BY_RESULT,
    Buckets,
    BuildLabels,
    Folded,
    JobLedger,
    LabelPolicy,
    apply_details,
    apply_history,
    apply_stages,
    baseline,
    clamp_timestamps,
    give_up,
)
from exporter.model import ListedJob
from exporter.poller.tasks import Observations, StagesFetched, Timer, stages_of

UNLISTED_AFTER: Final = 3
"""Lists do not serve a job that so many good lists in a row did not show."""

NEVER_POLLED: Final = object()
"""The mark of a job that no poll has succeeded for."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about polls; lengths in milliseconds.

    Attributes:
        gap_ms: a poll so long after the one before it recovers what finished in between.
        patience_ms: how long a missing build is waited for.
        policy: how closely finished builds are looked at.
    """

    buckets: Buckets
    lookback_ms: int
    gap_ms: int
    patience_ms: int
    policy: LabelPolicy = BY_RESULT

    def overflow_labels(self) -> "Rules":
        """The same where no label combination may come that was not there before."""
        return replace(self, policy=replace(self.policy, has_room=False))


@dataclass(slots=True)
class ListEvidence:
    """What the job lists last showed of a job, and whether they agreed with its polls.

    Attributes:
        last_shown: the job as a list showed it last.
        misses: good lists in a row that did not show it.
        seen_ms: when the list was read that showed it last, by the service's clock.
        mark: how the job was listed when its last successful poll began.
        agreed: that poll showed nothing else than the list.
        silent_until_ms: the latest reading at which the lists still showed what that poll had seen.
        confirmed_ms: when a list last confirmed that nothing was new with the job.
    """

    last_shown: ListedJob | None = None
    misses: int = UNLISTED_AFTER
    seen_ms: int | None = None
    mark: object = NEVER_POLLED
    agreed: bool = False
    silent_until_ms: int | None = None
    confirmed_ms: int | None = None

    @property
    def listed(self) -> ListedJob | None:
        """The job as it was last listed; None where lists do not show it any more."""
        return self.last_shown if self.misses < UNLISTED_AFTER else None

    @property
    def current_mark(self) -> object:
        """How the job is listed now; kept while it is polled, and compared afterwards."""
        return self.listed.mark if self.listed else None

    @property
    def has_changed(self) -> bool:
        """The lists show the job otherwise than when its last successful poll began."""
        return self.listed is not None and self.mark != self.listed.mark

    def see(self, listed: ListedJob, read_ms: int) -> None:
        """A list shows the job."""
        self.last_shown, self.misses, self.seen_ms = listed, 0, read_ms
        if self.agreed and self.mark == listed.mark:
            self.silent_until_ms = read_ms

    def polled(self, mark: object, *, agreed: bool = True) -> None:
        """A poll that began when the job was listed like that has succeeded, and agreed with the list."""
        self.mark, self.agreed, self.silent_until_ms = mark, agreed, None

    def confirm(self) -> None:
        """The list that showed the job last showed nothing new."""
        if self.seen_ms is not None:
            self.confirmed_ms = self.seen_ms

    def clamp_timestamps(self, at_ms: int) -> None:
        """Clamp timestamps to `at_ms` after the service's clock was corrected."""
        if self.seen_ms is not None:
            self.seen_ms = min(self.seen_ms, at_ms)
        if self.confirmed_ms is not None:
            self.confirmed_ms = min(self.confirmed_ms, at_ms)
        if self.silent_until_ms is not None and self.silent_until_ms > at_ms:
            self.silent_until_ms = None


@dataclass(slots=True)
class StageRetry:
    """How fetching the stages of a job's builds goes.

    Attributes:
        timer: of the next step.
        failures: steps in a row that brought nothing.
        failed_at: how many polls had been answered when the last step failed; None where it did not.
    """

    timer: Timer
    failures: int = 0
    failed_at: int | None = None


@dataclass(slots=True, eq=False)
class JobState:
    """Everything the poller knows of one watched job. Owned by the coordinator thread.

    Attributes:
        loaded: the store was asked for its ledger.
        answered: the store or the API has said what there is to know of it; readiness waits for that.
        ledger: as committed, and published.
        watched_at: when it was first watched, as long as it has no ledger; monotonic seconds, since our
            clock may be set before the first poll.
        watch_kept: the store has that moment.
        ahead: the ledger with what could not be committed yet; None where all is committed.
        up: whether its last poll succeeded; None before the first.
        poll: the timer of its polls.
        mark: how the job was listed when the poll under way began.
        quiet_polls: polls since the last that found a new build.
        goes_on: the last poll left details to ask for.
        denied_at: since when record-info denies builds that history shows, monotonic seconds, by number.
        lists: what the job lists show of it.
        stages: how fetching its stages goes.
        zero_hold: labels that are shown at 0 for a while.
    """

    id: str
    loaded: bool = True
    answered: bool = False
    ledger: JobLedger | None = None
    watched_at: float | None = None
    watch_kept: bool = False
    ahead: JobLedger | None = None
    up: bool | None = None
    poll: Timer = field(init=False)
    mark: object = None
    quiet_polls: int = -1
    goes_on: bool = False
    denied_at: dict[int, float] = field(default_factory=dict)
    lists: ListEvidence = field(default_factory=ListEvidence)
    stages: StageRetry = field(init=False)
    zero_hold: frozenset[BuildLabels] = frozenset()

    def __post_init__(self) -> None:
        """Nothing of it is planned yet."""
        self.poll = Timer(self.id)
        self.stages = StageRetry(Timer(stages_of(self.id)))

    @property
    def latest(self) -> JobLedger | None:
        """The ledger that observations are folded into: with what could not be committed yet."""
        return self.ahead or self.ledger


def fold(
    ledger: JobLedger | None, seen: Observations | StagesFetched, rules: Rules, *, now_ms: int
) -> Folded | None:
    """Make the next ledger of a job from what a poll, or a step that fetched stages, saw.

    Args:
        ledger: of the moment, which may be newer than the one that the task began with.
        seen: by one task.
        rules: from the configuration.
        now_ms: the present by the service's clock.

    Returns:
        None where the task relied on a ledger that is not there any more.
    """
    if isinstance(seen, StagesFetched):
        if ledger is None:
            return None
        return Folded(apply_stages(ledger, seen.answers, policy=rules.policy))
    if ledger is None:
        if not seen.is_first:
            return None
        folded = baseline(
            seen.builds,
            at_ms=seen.at_ms,
            buckets=rules.buckets,
            since_ms=seen.at_ms - seen.waited_ms,
            after_gap=seen.after_gap,
        )
    elif not seen.history_read:
        folded = Folded(ledger)
    else:
        current = clamp_timestamps(ledger, at_ms=now_ms)
        folded = apply_history(current, seen.builds, at_ms=seen.at_ms, after_gap=seen.after_gap)
    detailed = apply_details(folded.ledger, seen.details, at_ms=seen.at_ms, policy=rules.policy)
    settled = give_up(detailed.ledger, at_ms=seen.at_ms, patience_ms=rules.patience_ms, policy=rules.policy)
    return Folded(
        apply_stages(settled.ledger, (), policy=rules.policy),
        folded.faults + detailed.faults + settled.faults,
        detailed.capped + settled.capped,
    )


JobStates = Mapping[str, JobState]
"""The watched jobs by id."""
