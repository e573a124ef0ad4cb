"""Laws of the ledger: order, split, repetition and overlap make no difference; counters never decrease."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.ledger.build_labels import OTHER, BuildLabels, LabelPolicy
from exporter.ledger.fold_observations import (
    DetailAnswer,
    Refused,
    apply_details,
    apply_history,
    baseline,
    give_up,
)
from exporter.ledger.histogram import Buckets
from exporter.ledger.job_ledger import LOST_TRIES, RECENT_KEPT, JobLedger, RecentBuild
from exporter.ledger.job_list_evidence import apply_listed
from exporter.model import Build, BuildDetail, Result, State, Trigger
from tests.ledger.examples import durations_by_result

BUCKETS = Buckets.of_seconds((10, 60, 600), (1, 60), (300, 3600))
START_MS = 1_700_000_000_000
LATE_MS = START_MS + 10_000_000
"""After the last build of `truths`."""
PATIENCE_MS = 3_600_000
STAGE_NAMES_KEPT = LabelPolicy(trigger=True, branch=lambda branch: OTHER if branch == "tmp" else branch)


@dataclass(frozen=True)
class Truth:
    """A build as it really was; the API may refuse its detail."""

    number: int
    result: Result
    queued_ms: int
    start_ms: int
    finish_ms: int
    detailed: bool
    branch: str
    trigger: Trigger

    @property
    def running(self) -> Build:
        return Build(self.number, state=State.RUNNING, start_ms=self.start_ms)

    @property
    def finished(self) -> Build:
        return Build(
            self.number,
            result=self.result,
            start_ms=self.start_ms,
            finish_ms=self.finish_ms,
            branch=self.branch,
            trigger=self.trigger,
        )

    @property
    def answer(self) -> DetailAnswer:
        if not self.detailed:
            return Refused(self.number)
        return BuildDetail(
            self.number,
            result=self.result,
            queued_ms=self.queued_ms,
            start_ms=self.start_ms,
            finish_ms=self.finish_ms,
            duration_ms=self.finish_ms - self.start_ms,
            branch=self.branch,
            trigger=self.trigger,
        )


@st.composite
def truths(draw: st.DrawFn, most: int = 12) -> list[Truth]:
    builds = []
    for number in range(1, draw(st.integers(1, most)) + 1):
        queued_ms = START_MS + number * 60_000 + draw(st.integers(0, 200_000))
        start_ms = queued_ms + draw(st.integers(0, 90_000))
        builds.append(
            Truth(
                number=number,
                result=draw(st.sampled_from(Result)),
                queued_ms=queued_ms,
                start_ms=start_ms,
                finish_ms=start_ms + draw(st.integers(0, 5_000_000)),
                detailed=draw(st.booleans()),
                branch=draw(st.sampled_from(["main", "release/1", "tmp"])),
                trigger=draw(st.sampled_from(Trigger)),
            )
        )
    return builds


def empty() -> JobLedger:
    """The ledger of a job with build 0 as its baseline, so that every later build counts."""
    return baseline([], at_ms=START_MS, buckets=BUCKETS).ledger


def see_answers(ledger: JobLedger, builds: Iterable[Truth]) -> JobLedger:
    answers = [build.answer for build in builds]
    return apply_details(ledger, answers, at_ms=START_MS, policy=STAGE_NAMES_KEPT).ledger


def expected(builds: list[Truth]) -> JobLedger:
    """One build at a time, in the order of their numbers."""
    ledger = empty()
    for build in builds:
        ledger = apply_history(ledger, [build.finished], at_ms=START_MS).ledger
        ledger = see_answers(ledger, [build])
    return ledger


@given(st.data(), truths())
def test_any_order_split_and_repetition_give_the_same_ledger(
    data: st.DataObject, builds: list[Truth]
) -> None:
    ledger = empty()
    ledger = apply_history(ledger, [build.running for build in builds], at_ms=START_MS).ledger
    seen: list[Truth] = []
    order = data.draw(st.permutations(builds + data.draw(st.lists(st.sampled_from(builds), max_size=8))))
    while order:
        size = data.draw(st.integers(1, len(order)))
        page, order = order[:size], order[size:]
        stale = data.draw(st.lists(st.sampled_from(builds), max_size=3))
        records = data.draw(st.permutations([b.finished for b in page] + [b.running for b in stale]))
        ledger = apply_history(ledger, records, at_ms=START_MS).ledger
        seen += page
        answered = data.draw(st.lists(st.sampled_from(seen), max_size=6))
        ledger = see_answers(ledger, answered)
    ledger = see_answers(ledger, reversed(builds))
    assert ledger == expected(builds)


@given(st.data(), truths())
def test_details_of_builds_that_history_has_not_shown_give_the_same_ledger_in_any_order(
    data: st.DataObject, builds: list[Truth]
) -> None:
    """Claims of job lists between the answers change nothing either."""
    ledger = empty()
    detailed = [build for build in builds if build.detailed]
    order = data.draw(st.permutations(detailed + data.draw(st.lists(st.sampled_from(builds), max_size=8))))
    while order:
        size = data.draw(st.integers(1, len(order)))
        page, order = order[:size], order[size:]
        for claimed in data.draw(st.lists(st.sampled_from(builds), max_size=3)):
            if not any(run.first <= claimed.number <= run.last for run in ledger.runs):
                start_ms = data.draw(st.none() | st.integers(0, LATE_MS))
                claim = Build(claimed.number, state=data.draw(st.sampled_from(State)), start_ms=start_ms)
                ledger = apply_listed(ledger, claim, at_ms=START_MS)
        if data.draw(st.booleans()):
            ledger = apply_history(ledger, [build.finished for build in page], at_ms=START_MS).ledger
        before = counters(ledger)
        ledger = see_answers(ledger, page)
        after = counters(ledger)
        assert_well_formed(ledger)
        assert all(after[key] >= value for key, value in before.items())
    ledger = apply_history(ledger, [build.finished for build in builds], at_ms=START_MS).ledger
    ledger = see_answers(ledger, reversed(builds))
    assert ledger == expected(builds)


def seen_at(ledger: JobLedger, builds: list[Truth], at_ms: int) -> JobLedger:
    """The ledger after a poll at that time."""
    listed = [
        build.finished if build.finish_ms <= at_ms else build.running
        for build in builds
        if build.queued_ms <= at_ms
    ]
    ledger = apply_history(ledger, listed, at_ms=at_ms).ledger
    return see_answers(ledger, [build for build in builds if build.finish_ms <= at_ms])


@given(st.data(), truths())
def test_late_observations_folded_into_a_newer_ledger_give_the_same_ledger(
    data: st.DataObject, builds: list[Truth]
) -> None:
    end_ms = max(build.finish_ms for build in builds) + 60_000
    polls = data.draw(st.lists(st.integers(START_MS, end_ms), min_size=1, max_size=6))
    in_order, late = empty(), empty()
    for at_ms in sorted(polls):
        in_order = seen_at(in_order, builds, at_ms)
    for at_ms in polls:
        before = counters(late)
        late = seen_at(late, builds, at_ms)
        after = counters(late)
        assert_well_formed(late)
        assert all(after[key] >= value for key, value in before.items())
    assert late.counts == in_order.counts
    assert seen_at(late, builds, end_ms) == seen_at(in_order, builds, end_ms)


@given(truths(), st.randoms())
def test_a_ledger_agrees_with_a_recount(builds: list[Truth], random: object) -> None:
    ledger = expected(builds)
    detailed = [build for build in builds if build.detailed]
    assert ledger.counts == {r: n for r in Result if (n := sum(b.result is r for b in builds))}
    assert sum(h.sum_ms for h in durations_by_result(ledger).values()) == sum(
        b.finish_ms - b.start_ms for b in builds
    )
    assert ledger.queue.sum_ms == sum(b.start_ms - b.queued_ms for b in detailed)
    assert ledger.queue.count == len(detailed)
    assert streaks_of(ledger) == streaks(builds)
    told_apart = Counter(
        BuildLabels(build.result, build.trigger, OTHER if build.branch == "tmp" else build.branch)
        for build in builds
    )
    assert {tally.labels: tally.builds for tally in ledger.tallies if tally.builds} == told_apart
    latest = max((build.finish_ms, build.number) for build in builds)
    assert max(tally.latest[:2] for tally in ledger.tallies if tally.latest) == latest
    assert ledger.open == {}
    assert len(ledger.runs) == 1


def streaks(builds: Iterable[Truth]) -> tuple[int, int, int]:
    """Consecutive failures, and the number and total duration of recoveries."""
    failures, broken_since, recoveries = 0, None, []
    for build in builds:
        if build.result is Result.SUCCESS:
            if broken_since is not None and build.finish_ms >= broken_since:
                recoveries.append(build.finish_ms - broken_since)
            failures, broken_since = 0, None
        elif build.result is not Result.ABORTED:
            failures += 1
            broken_since = build.finish_ms if broken_since is None else broken_since
    return failures, len(recoveries), sum(recoveries)


def streaks_of(ledger: JobLedger) -> tuple[int, int, int]:
    return ledger.consecutive_failures, ledger.recovery.count, ledger.recovery.sum_ms


@given(st.data(), truths())
def test_lost_builds_are_absent_from_streaks_even_if_they_turn_up(
    data: st.DataObject, builds: list[Truth]
) -> None:
    lost = data.draw(st.sets(st.sampled_from(builds[1:-1]))) if builds[2:] else set()
    shown = [build for build in builds if build not in lost]
    ledger = expected(shown[:1])
    ledger = apply_history(ledger, [build.finished for build in shown], at_ms=START_MS).ledger
    ledger = see_answers(ledger, data.draw(st.permutations(shown)))
    for _ in range(LOST_TRIES):
        ledger = apply_details(ledger, [Refused(build.number) for build in lost], at_ms=LATE_MS).ledger
    ledger = give_up(ledger, at_ms=LATE_MS, patience_ms=PATIENCE_MS).ledger
    assert (streaks_of(ledger), ledger.lost_builds) == (streaks(shown), len(lost))
    ledger = apply_history(ledger, [build.finished for build in lost], at_ms=LATE_MS).ledger
    ledger = see_answers(ledger, lost)
    assert (streaks_of(ledger), ledger.recovered_builds) == (streaks(shown), len(lost))
    assert ledger.counts == Counter(build.result for build in builds)


def remembered(builds: Iterable[Truth]) -> tuple[RecentBuild, ...]:
    """The highest numbers, in any order of arrival."""
    ascending = sorted(builds, key=lambda build: build.number)
    return tuple(
        RecentBuild(one.number, one.result, one.finish_ms - one.start_ms, one.finish_ms) for one in ascending
    )[-RECENT_KEPT:]


@settings(max_examples=settings().max_examples // 2)  # of up to fifty builds each
@given(st.data(), truths(most=50))
def test_the_recent_builds_do_not_depend_on_the_order(data: st.DataObject, builds: list[Truth]) -> None:
    before = data.draw(st.integers(0, len(builds)))
    old, new = builds[:before], builds[before:]
    records = data.draw(st.permutations([build.finished for build in old]))
    ledger = baseline(records, at_ms=LATE_MS, buckets=BUCKETS).ledger
    if old:
        ledger = see_answers(ledger, old[-1:])
    assert ledger.recent == remembered(old)
    ledger = apply_history(ledger, [build.running for build in new], at_ms=START_MS).ledger
    order, settled = data.draw(st.permutations(new)), list(old)
    while order:
        size = data.draw(st.integers(1, len(order)))
        page, order = order[:size], order[size:]
        ledger = apply_history(ledger, [build.finished for build in page], at_ms=START_MS).ledger
        ledger = see_answers(ledger, data.draw(st.permutations(page + settled[-3:])))
        settled += page
        assert ledger.recent == remembered(settled)


@given(st.data(), truths(), st.integers(START_MS, LATE_MS), st.integers(0, LATE_MS - START_MS))
def test_builds_finished_since_first_watched_count_at_any_first_poll(
    data: st.DataObject, builds: list[Truth], since_ms: int, later_ms: int
) -> None:
    first_ms = since_ms + later_ms
    records = [build.finished if build.finish_ms <= first_ms else build.running for build in builds]
    ledger = baseline(
        data.draw(st.permutations(records)), at_ms=first_ms, since_ms=since_ms, buckets=BUCKETS
    ).ledger
    finished = [build for build in builds if build.finish_ms <= first_ms]
    ledger = see_answers(ledger, data.draw(st.permutations(finished)))
    ledger = apply_history(ledger, [build.finished for build in builds], at_ms=LATE_MS).ledger
    ledger = see_answers(ledger, data.draw(st.permutations(builds)))
    counted = Counter(build.result for build in builds if build.finish_ms > since_ms)
    assert (ledger.counts, ledger.lost_builds, ledger.open) == (counted, 0, {})
    assert (ledger.since_ms, len(ledger.runs)) == (since_ms, 1)


def counters(ledger: JobLedger) -> dict[object, int]:
    counts = ledger.counts
    values: dict[object, int] = {("builds", result): counts.get(result, 0) for result in Result}
    for name, one in (
        ("queue", ledger.queue),
        ("recovery", ledger.recovery),
        *durations_by_result(ledger).items(),
    ):
        values |= {(name, at): count for at, count in enumerate(one.counts)} | {(name, "sum"): one.sum_ms}
    return values | {"lost": ledger.lost_builds, "recovered": ledger.recovered_builds}


anything = st.one_of(
    st.builds(
        Build,
        number=st.integers(1, 30),
        result=st.none() | st.sampled_from(Result),
        state=st.none() | st.sampled_from(State),
        start_ms=st.none() | st.integers(START_MS, START_MS + 10**10),
        finish_ms=st.none() | st.integers(START_MS, START_MS + 10**10),
    ),
    st.builds(
        BuildDetail,
        number=st.integers(1, 30),
        result=st.none() | st.sampled_from(Result),
        state=st.none() | st.sampled_from(State),
        queued_ms=st.none() | st.integers(START_MS, START_MS + 10**10),
        start_ms=st.none() | st.integers(START_MS, START_MS + 10**10),
        finish_ms=st.none() | st.integers(START_MS, START_MS + 10**10),
        duration_ms=st.none() | st.integers(-(10**10), 10**12),
    ),
    st.builds(Refused, number=st.integers(1, 30)),
    st.integers(0, 2 * PATIENCE_MS),
)


@given(st.lists(st.lists(anything, max_size=6), max_size=12))
def test_counters_never_decrease(polls: list[list[object]]) -> None:
    ledger, now_ms = empty(), START_MS
    for poll in polls:
        now_ms += sum(item for item in poll if isinstance(item, int))
        before = counters(ledger)
        ledger = apply_history(ledger, [b for b in poll if isinstance(b, Build)], at_ms=now_ms).ledger
        answers = [a for a in poll if isinstance(a, BuildDetail | Refused)]
        ledger = apply_details(ledger, answers, at_ms=now_ms).ledger
        ledger = give_up(ledger, at_ms=now_ms, patience_ms=PATIENCE_MS).ledger
        after = counters(ledger)
        assert all(after[key] >= value for key, value in before.items())
        assert_well_formed(ledger)


def assert_well_formed(ledger: JobLedger) -> None:
    """Every number up to the highest is settled, open or waited for: exactly one of them, unless lost."""
    reach = -1
    for run in ledger.runs:
        assert run.first > reach + 1 or (reach == -1 and run.first == 0)
        reach = run.last
    for number in range(ledger.highest + 1):
        settled = any(run.first <= number <= run.last for run in ledger.runs)
        missing = any(gap.first <= number <= gap.last for gap in ledger.gaps)
        lost = any(first <= number <= last for first, last in ledger.lost)
        assert [settled, missing, number in ledger.open and not lost].count(True) == 1
