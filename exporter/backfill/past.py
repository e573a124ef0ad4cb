"""Builds of the past, folded into ledgers as if they had been watched while they happened; pure.

The ledger is the one that counts live builds, so labels, buckets and every rule are the same. The difference
is that all is known from the beginning: which numbers are missing, and when each build finished.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from exporter.ledger import (
    Folded,
    JobLedger,
    KnownStages,
    Refused,
    Run,
    baseline,
    see_details,
    see_history,
    see_stages,
    write_off,
)
from exporter.model import Build, BuildDetail, Stage, State
from exporter.poller import Rules


@dataclass(frozen=True, slots=True)
class PastBuild:
    """A build as it is known now.

    Attributes:
        detail: None where there is none; the build is then counted from its history record.
        stages: None where they were not asked for, or not told.
    """

    build: Build
    detail: BuildDetail | None = None
    stages: tuple[Stage, ...] | None = None

    @property
    def finish_ms(self) -> int | None:
        """When it finished, or failing that began; None for one that has not, or that nobody can date."""
        build, detail = self.build, self.detail
        if not (build.result or build.finish_ms or (detail and detail.result)):
            return None
        told = (detail, build) if detail else (build,)
        moments = (*(one.finish_ms for one in told), *(one.start_ms for one in told))
        return next((moment for moment in moments if moment is not None), None)


def begin(
    before: Sequence[Build],
    later: Iterable[int],
    missing: Iterable[tuple[int, int]],
    at_ms: int,
    rules: Rules,
) -> JobLedger:
    """The ledger of a job at the moment from which its builds are counted.

    Args:
        before: what is known of builds that had finished by then.
        later: the numbers that are counted.
        missing: ranges of numbers that nobody knows anything of.
        at_ms: that moment.
        rules: from the configuration.
    """
    numbers = sorted(later)
    newest = max((build.number for build in before), default=0)
    under_way = [Build(number, state=State.RUNNING) for number in numbers if number < newest]
    ledger = baseline([*before, *under_way], at_ms=at_ms, buckets=rules.buckets).ledger
    if before:
        ledger = see_details(ledger, [Refused(newest)], at_ms=at_ms, breakdown=rules.breakdown).ledger
    elif numbers:
        ledger = replace(ledger, runs=(Run.baseline(numbers[0] - 1),))
    return write_off(ledger, missing)


def grow(ledger: JobLedger, builds: Sequence[PastBuild], at_ms: int, rules: Rules) -> Folded:
    """The same job when those builds have finished too."""
    seen = see_history(ledger, [one.build for one in builds], at_ms=at_ms)
    answers = [_answer(one) for one in builds]
    told = see_details(seen.ledger, answers, at_ms=at_ms, breakdown=rules.breakdown)
    stages = [_stages(one) for one in builds]
    ledger = see_stages(told.ledger, stages, breakdown=rules.breakdown)
    return Folded(ledger, seen.faults + told.faults)


def _answer(one: PastBuild) -> BuildDetail | Refused:
    """A detail that still takes the build for unfinished is older than the record that ends it."""
    if one.detail is None or (one.detail.result is None and one.detail.state is not None):
        return Refused(one.build.number)
    return one.detail


def _stages(one: PastBuild) -> KnownStages | Refused:
    number = one.build.number
    return Refused(number) if one.stages is None else KnownStages(number, one.stages)
