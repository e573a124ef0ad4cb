"""Builds counted by trigger and branch, the series limit, and exemplars."""

from dataclasses import replace

import pytest

from exporter.ledger.build_labels import OTHER, BuildLabels, LabelPolicy
from exporter.ledger.fold_observations import apply_details
from exporter.ledger.histogram import Exemplar, Histogram
from exporter.ledger.job_ledger import JobLedger
from exporter.model import BuildDetail, Result, Trigger
from tests.ledger.examples import BUCKETS, at, counted, durations_by_result, finished, history, idle

SUCCESS, FAILURE = Result.SUCCESS, Result.FAILURE
BY_BOTH = LabelPolicy(trigger=True, branch=lambda branch: branch if branch == "main" else OTHER)


def with_success(
    ledger: JobLedger, number: int, policy: LabelPolicy, branch: str = "main"
) -> tuple[JobLedger, int]:
    """The ledger after one more manual success, and the number of capped builds."""
    ledger = history(ledger, finished(number))
    answer = BuildDetail(
        number, SUCCESS, start_ms=at(1), finish_ms=at(2), branch=branch, trigger=Trigger.MANUAL
    )
    folded = apply_details(ledger, [answer], at_ms=at(3), policy=policy)
    return folded.ledger, folded.capped


def builds(ledger: JobLedger) -> dict[tuple[str, ...], int]:
    return {tuple(tally.labels): tally.builds for tally in ledger.tallies if tally.builds}


def test_builds_are_counted_by_the_configured_labels() -> None:
    assert builds(with_success(idle(), 2, BY_BOTH)[0]) == {("success", "manual", "main"): 1}
    assert builds(with_success(idle(), 2, BY_BOTH, branch="tmp-1")[0]) == {("success", "manual", "other"): 1}
    assert builds(with_success(idle(), 2, LabelPolicy(trigger=True))[0]) == {("success", "manual", ""): 1}
    assert builds(with_success(idle(), 2, LabelPolicy())[0]) == {("success", "", ""): 1}


def test_builds_counted_before_keep_their_labels() -> None:
    ledger, _ = with_success(counted(idle(), 2), 3, BY_BOTH)
    assert builds(ledger) == {("success", "", ""): 1, ("success", "manual", "main"): 1}
    assert (ledger.counts, durations_by_result(ledger)[SUCCESS].count) == ({SUCCESS: 2}, 2)


def test_without_room_new_branches_count_under_other() -> None:
    full = LabelPolicy(trigger=True, branch=str, has_room=False)
    ledger, _ = with_success(idle(), 2, LabelPolicy(trigger=True, branch=str))
    ledger, capped = with_success(ledger, 3, full)
    assert (builds(ledger), capped) == ({("success", "manual", "main"): 2}, 0)
    ledger, capped = with_success(ledger, 4, full, branch="release/9")
    assert (ledger.counts, capped) == ({SUCCESS: 3}, 1)
    assert builds(ledger)["success", "manual", "other"] == 1


def test_configured_branches_need_no_room() -> None:
    full = LabelPolicy(branch=str, has_room=False, always=frozenset({"main"}))
    ledger, capped = with_success(idle(), 2, full)
    assert (builds(ledger), capped) == ({("success", "", "main"): 1}, 0)
    ledger, capped = with_success(ledger, 3, full, branch="release/9")
    assert (builds(ledger), capped) == ({("success", "", "main"): 1, ("success", "", "other"): 1}, 1)


@pytest.mark.parametrize(
    ("policy", "labels"),
    [
        (LabelPolicy(has_room=False), ("aborted", "", "")),
        (LabelPolicy(trigger=True, has_room=False), ("aborted", "manual", "")),
        (replace(BY_BOTH, has_room=False), ("aborted", "manual", "other")),
    ],
)
def test_labels_without_a_new_branch_always_have_room(policy: LabelPolicy, labels: tuple[str, ...]) -> None:
    ledger = history(idle(), finished(2, Result.ABORTED))
    answer = BuildDetail(2, Result.ABORTED, branch="tmp", trigger=Trigger.MANUAL)
    folded = apply_details(ledger, [answer], at_ms=at(3), policy=policy)
    assert (builds(folded.ledger), folded.capped) == ({labels: 1}, 0)


def test_a_finish_far_in_the_future_is_unknown() -> None:
    ledger = counted(idle(), 2, start=1, finish=2)
    folded = apply_details(
        history(ledger, finished(3)), [BuildDetail(3, SUCCESS, finish_ms=at(10**7))], at_ms=at(3)
    )
    assert folded.faults == ("absurd_finish", "absurd_duration")
    assert folded.ledger.counts == {SUCCESS: 2}
    assert folded.ledger.last_success_ms == ledger.last_success_ms
    assert {tally.latest for tally in folded.ledger.tallies if tally.latest} == {Exemplar(at(2), 2, 1)}


def test_the_exemplar_of_a_bucket_is_its_latest_build() -> None:
    early, late = Exemplar(at(5), 3, 9_000), Exemplar(at(6), 2, 8_000)
    histogram = Histogram.empty((10_000, 60_000))
    for one in (late, early, Exemplar(at(1), 9, 70_000)):
        histogram = histogram.observed(one.value_ms, number=one.number, at_ms=one.at_ms)
    assert histogram.exemplars == (late, Exemplar(at(1), 9, 70_000))


def test_an_observation_without_time_is_no_exemplar() -> None:
    assert Histogram.empty((10,)).observed(5, number=1).exemplars == ()


def test_other_buckets_drop_exemplars_and_the_same_keep_them() -> None:
    histogram = Histogram.empty((10, 60)).observed(5, number=1, at_ms=1)
    assert histogram.with_buckets((10, 60)) == histogram
    assert (histogram.with_buckets((4, 60)).exemplars, histogram.with_buckets((4, 60)).count) == ((), 1)


def test_a_counted_build_is_the_exemplar_of_every_metric_it_adds_to() -> None:
    ledger = counted(idle(), 2, FAILURE, start=1, finish=2)
    ledger = counted(ledger, 3, SUCCESS, start=3, finish=4)
    latest = {tally.labels: tally.latest for tally in ledger.tallies}
    assert latest == {
        BuildLabels(FAILURE): Exemplar(at(2), 2, 1),
        BuildLabels(SUCCESS): Exemplar(at(4), 3, 1),
    }
    assert durations_by_result(ledger)[FAILURE].exemplars == (Exemplar(at(2), 2, 60_000),)
    assert ledger.queue.exemplars == (Exemplar(at(4), 3, 1000),)
    assert ledger.recovery.exemplars == (Exemplar(at(4), 3, 120_000),)
    assert ledger.with_buckets(BUCKETS) == ledger


def test_a_build_that_is_not_counted_is_no_exemplar() -> None:
    assert all(tally.latest is None for tally in idle().tallies)
    assert idle().queue.exemplars == ()
