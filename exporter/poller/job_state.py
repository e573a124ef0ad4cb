"""The state that the poller keeps of each watched job, and how observations change its ledger; pure.

Workers return observations. The coordinator folds them into the current ledger, which may have changed since
the worker began: the rules of the ledger make the order irrelevant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from exporter.config import Config
from exporter.ledger.build_labels import BY_RESULT, BuildLabels, LabelPolicy
from exporter.ledger.fold_observations import (
    Folded,
    apply_details,
    apply_history,
    apply_stages,
    baseline,
    clamp_timestamps,
    give_up,
)
from exporter.ledger.histogram import Buckets
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.job_list_evidence import apply_listed, next_running
from exporter.ledger.unsettled import clamped
from exporter.model import ListedJob
from exporter.poller.configured_intervals import Intervals
from exporter.poller.hints import Hint
from exporter.poller.tasks_and_results import Observations, StagesFetched, Timer, Work, stages_task

UNLISTED_AFTER: Final = 3
"""Good lists in a row without a job, after which lists do not cover it."""

SECOND_TRY_S: Final = 10.0
"""Time until a build that history shows and record-info denies is requested again: replicas lag."""

RECOVERY_BUCKETS: Final = (300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 259200)

_GAP_INTERVALS: Final = 3
"""Longest intervals between two polls, after which builds that finished in between count as recovered."""

_PATIENCE_INTERVALS: Final = 6
"""Longest intervals for which a missing build is waited for."""

_NEVER_POLLED: Final = object()
"""The mark of a job before its first successful poll."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules from the configuration by which polls become ledgers.

    Attributes:
        gap_ms: time since the previous poll after which builds that finished in between count as recovered.
        patience_ms: how long a missing build is waited for.
        policy: labels under which finished builds are counted.
    """

    buckets: Buckets
    lookback_ms: int
    gap_ms: int
    patience_ms: int
    policy: LabelPolicy = BY_RESULT

    @classmethod
    def of(cls, config: Config) -> "Rules":
        """Read the rules from a configuration."""
        longest_ms = round(Intervals.of(config).longest * 1000)
        metrics = config.metrics
        return cls(
            buckets=Buckets.of_seconds(metrics.duration_buckets, metrics.queue_buckets, RECOVERY_BUCKETS),
            lookback_ms=round(config.poll.lookback * 1000),
            gap_ms=_GAP_INTERVALS * longest_ms,
            patience_ms=_PATIENCE_INTERVALS * longest_ms,
            policy=LabelPolicy(
                trigger="trigger" in metrics.extra_labels,
                branch=metrics.branch_label if "branch" in metrics.extra_labels else None,
                stages=metrics.stages,
                always=frozenset(metrics.plain_branches),
                lean=metrics.is_lean,
            ),
        )

    def overflow_labels(self) -> "Rules":
        """The same rules, but without new label combinations."""
        return replace(self, policy=replace(self.policy, has_room=False))


@dataclass(slots=True)
class ListEvidence:
    """The last evidence of a job in the job lists, and whether it agreed with the polls.

    Attributes:
        last_shown: the job in the last list that showed it.
        misses: good lists in a row that did not show it.
        seen_ms: when the last list that showed it was read, by the service's clock.
        polled_mark: how the job was listed when its last successful poll began.
        agreed: that poll showed nothing else than the list.
        silent_until_ms: the latest read at which the lists still showed what that poll had seen.
        confirmed_ms: when a list last confirmed that the job had no new build.
    """

    last_shown: ListedJob | None = None
    misses: int = UNLISTED_AFTER
    seen_ms: int | None = None
    polled_mark: object = _NEVER_POLLED
    agreed: bool = False
    silent_until_ms: int | None = None
    confirmed_ms: int | None = None

    @property
    def listed(self) -> ListedJob | None:
        """The job as it was last listed; None if lists do not show it any more."""
        return self.last_shown if self.misses < UNLISTED_AFTER else None

    @property
    def current_mark(self) -> object:
        """The current mark of the job in the lists; kept while it is polled, and compared afterwards."""
        return self.listed.mark if self.listed else None

    @property
    def has_changed(self) -> bool:
        """The lists show the job differently than when its last successful poll began."""
        listed = self.listed
        return listed is not None and self.polled_mark != listed.mark

    def shown(self, listed: ListedJob, read_ms: int) -> None:
        """Record that a list shows the job."""
        self.last_shown, self.misses, self.seen_ms = listed, 0, read_ms
        if self.agreed and self.polled_mark == listed.mark:
            self.silent_until_ms = read_ms

    def polled(self, mark: object, *, agreed: bool = True) -> None:
        """Record a successful poll, how the job was listed when it began, and whether the two agreed."""
        self.polled_mark, self.agreed, self.silent_until_ms = mark, agreed, None

    def confirm(self) -> None:
        """Record that the last list that showed the job showed no new build."""
        if self.seen_ms is not None:
            self.confirmed_ms = self.seen_ms

    def clamp_timestamps(self, at_ms: int) -> None:
        """Clamp timestamps to `at_ms` after the service clock was corrected."""
        self.seen_ms, self.confirmed_ms = clamped(self.seen_ms, at_ms), clamped(self.confirmed_ms, at_ms)
        if self.silent_until_ms is not None and self.silent_until_ms > at_ms:
            self.silent_until_ms = None


@dataclass(slots=True)
class StageRetry:
    """State of fetching the stages of a job's builds.

    Attributes:
        timer: of the next step.
        failures: failed steps in a row.
        failed_at: number of answered polls when the last step failed; None if it succeeded.
    """

    timer: Timer
    failures: int = 0
    failed_at: int | None = None


@dataclass(slots=True, eq=False)
class JobState:
    """Everything the poller knows of one watched job. Owned by the coordinator thread.

    Attributes:
        loaded: its ledger was requested from the store.
        ledger: as committed and published.
        uncommitted: the ledger with changes that are not committed yet; see `LedgerCommits.add`.
        watched_at: when it was first watched, while it has no ledger; monotonic seconds, since the wall clock
            may be set before the first poll.
        up: whether its last poll succeeded; None before the first.
        failure: why it did not; empty if it did.
        poll: the timer of its polls.
        mark_at_poll: how the job was listed when the current poll began.
        polled_at: when the last poll began.
        hint: that it has news, until its builds have ended.
        listed_first: what the lists show, if the current poll may begin with record-info.
        verify_at: until when polls may do without history, monotonic seconds.
        quiet_polls: polls since the last that found a new build, or that followed a change in a list.
        answered_polls: those of them that succeeded.
        more_details: the last poll left details to request.
        denied_at: since when record-info denies builds that history shows, monotonic seconds, by number.
        lists: what the job lists show of it.
        stages: state of fetching stages.
        zero_hold: labels that are shown at 0 for a while.
    """

    id: str
    loaded: bool = True
    ledger: JobLedger | None = None
    uncommitted: JobLedger | None = None
    watched_at: float | None = None
    up: bool | None = None
    failure: str = ""
    poll: Timer = field(init=False)
    mark_at_poll: object = None
    polled_at: float = float("-inf")
    hint: Hint | None = None
    listed_first: ListedJob | None = None
    verify_at: float = float("-inf")
    quiet_polls: int = -1
    answered_polls: int = -1
    more_details: bool = False
    denied_at: dict[int, float] = field(default_factory=dict)
    lists: ListEvidence = field(default_factory=ListEvidence)
    stages: StageRetry = field(init=False)
    zero_hold: frozenset[BuildLabels] = frozenset()

    def __post_init__(self) -> None:
        self.poll = Timer(self.id)
        self.stages = StageRetry(Timer(stages_task(self.id)))

    @property
    def latest(self) -> JobLedger | None:
        """The ledger that observations are folded into, with uncommitted changes."""
        return self.uncommitted or self.ledger

    def deny(self, numbers: Iterable[int], now: float) -> None:
        """Record which builds a poll was denied, in place of those before."""
        self.denied_at = {number: self.denied_at.get(number, now) for number in numbers}

    def poll_work(self, now: float) -> Work:
        """Return the task of polling the job."""
        return Work(
            self.poll,
            self.latest,
            self.lists.confirmed_ms,
            more_details=self.more_details,
            confirmed_denials=frozenset(
                number for number, since in self.denied_at.items() if now - since >= SECOND_TRY_S
            ),
            watched_at=self.watched_at,
            listed=self.listed_first,
        )


JobStates = Mapping[str, JobState]
"""The watched jobs by id."""


def fold(
    ledger: JobLedger | None, observed: Observations | StagesFetched, rules: Rules, *, now_ms: int
) -> Folded | None:
    """Apply the observations of a poll, or of a step that fetched stages, to the ledger of a job.

    The ledger may be newer than when the task began. The result is None if the task relied on a ledger that
    no longer exists. `now_ms` is the present by the service's clock.
    """
    if isinstance(observed, StagesFetched):
        return Folded(apply_stages(ledger, observed.answers, policy=rules.policy)) if ledger else None
    at_ms, after_gap = observed.at_ms, observed.after_gap
    if ledger is None:
        if not observed.is_first:
            return None
        since_ms = at_ms - observed.waited_ms
        folded = baseline(
            observed.builds, at_ms=at_ms, buckets=rules.buckets, since_ms=since_ms, after_gap=after_gap
        )
    elif observed.listed:
        return _fold_listed(clamp_timestamps(ledger, at_ms=now_ms), observed, observed.listed, rules)
    elif not observed.history_read:
        folded = Folded(ledger)
    else:
        current = clamp_timestamps(ledger, at_ms=now_ms)
        folded = apply_history(current, observed.builds, at_ms=at_ms, after_gap=after_gap)
    detailed = apply_details(folded.ledger, observed.details, at_ms=at_ms, policy=rules.policy)
    settled = Folded(detailed.ledger)
    if settled.ledger.open or settled.ledger.gaps:
        settled = give_up(settled.ledger, at_ms=at_ms, patience_ms=rules.patience_ms, policy=rules.policy)
    return Folded(
        apply_stages(settled.ledger, (), policy=rules.policy),
        observed.faults + folded.faults + detailed.faults + settled.faults,
        detailed.capped + settled.capped,
    )


def _fold_listed(ledger: JobLedger, observed: Observations, listed: ListedJob, rules: Rules) -> Folded:
    """Apply a poll that needed no history, and open the running build that the list shows beyond it."""
    polled = replace(ledger, polled_ms=max(ledger.polled_ms, observed.at_ms))
    detailed = apply_details(polled, observed.details, at_ms=observed.at_ms, policy=rules.policy)
    after, running = detailed.ledger, next_running(detailed.ledger, listed)
    if running and running.number not in after.open:
        after = apply_listed(after, running, at_ms=observed.at_ms)
    return replace(detailed, ledger=apply_stages(after, (), policy=rules.policy))
