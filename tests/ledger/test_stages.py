"""Stages in the ledger: folded once, in any order, without delaying counts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger.build_labels import OTHER, LabelPolicy
from exporter.ledger.fold_observations import (
    DetailAnswer,
    Failed,
    Refused,
    StageAnswer,
    apply_details,
    apply_history,
    apply_stages,
    baseline,
)
from exporter.ledger.histogram import Buckets, Exemplar
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import AWAITED_KEPT, STAGE_NAMES_KEPT, KnownStages, LastStages
from exporter.model import Build, BuildDetail, JobNames, ListedJob, Result, Stage

BUCKETS = Buckets.of_seconds((10, 60), (1, 60), (300,))
START_MS = 1_700_000_000_000
MEASURED = LabelPolicy(stages=True)
TRIES = 10


def empty() -> JobLedger:
    return baseline([], at_ms=START_MS, buckets=BUCKETS).ledger


def settled(*numbers: int, ledger: JobLedger | None = None, policy: LabelPolicy = MEASURED) -> JobLedger:
    """The ledger after those builds are finished and counted."""
    ledger = ledger or empty()
    for number in numbers:
        finish_ms = START_MS + number * 1000
        build = Build(number, Result.SUCCESS, start_ms=finish_ms - 500, finish_ms=finish_ms)
        detail = BuildDetail(number, Result.SUCCESS, finish_ms=finish_ms, record_id=f"record-{number}")
        ledger = apply_history(ledger, [build], at_ms=START_MS).ledger
        ledger = apply_details(ledger, [detail], at_ms=START_MS, policy=policy).ledger
    return ledger


def known(number: int, **lengths_ms: int) -> KnownStages:
    return KnownStages(number, tuple(Stage(name, length_ms) for name, length_ms in lengths_ms.items()))


def see(ledger: JobLedger, *answers: StageAnswer) -> JobLedger:
    return apply_stages(ledger, answers, policy=MEASURED)


def sums(ledger: JobLedger) -> dict[str, tuple[int, int]]:
    """Observations and their sum, by name."""
    return {name: (one.count, one.sum_ms) for name, one in ledger.stages.durations.items()}


def test_a_build_is_counted_before_its_stages_are_known() -> None:
    ledger = settled(1, 2)
    assert ledger.counts == {Result.SUCCESS: 2}
    assert ledger.stages.wanted() == (2, 1)
    assert ledger.stages.awaited[2].record_id == "record-2"


def test_stages_are_observed_once() -> None:
    ledger = see(settled(1, 2), known(1, fetch=300, build=20_000), known(2, fetch=500))
    assert sums(ledger) == {"build": (1, 20_000), "fetch": (2, 800)}
    assert ledger.stages.awaited == {}
    assert see(ledger, known(1, fetch=300), known(7, fetch=1), Refused(2), Failed(2)) is ledger


def test_an_exemplar_is_the_build_at_its_finish() -> None:
    ledger = see(settled(1, 2), known(2, fetch=500), known(1, fetch=300))
    assert ledger.stages.durations["fetch"].exemplars == (Exemplar(START_MS + 2000, 2, 500),)


def test_the_gauge_shows_the_highest_number_whose_stages_are_known() -> None:
    ledger = see(settled(1, 2, 3, 4), known(2, a=2, b=1), known(1, a=1), Refused(3), known(4))
    assert ledger.stages.last == LastStages(2, {"a": 2, "b": 1})


def test_the_last_build_of_the_baseline_sets_the_gauge_only() -> None:
    old = [Build(n, Result.SUCCESS, start_ms=START_MS - 900, finish_ms=START_MS - 500) for n in (1, 2)]
    ledger = baseline(old, at_ms=START_MS, buckets=BUCKETS).ledger
    detail = BuildDetail(2, Result.SUCCESS, finish_ms=START_MS - 500, record_id="record-2")
    ledger = apply_details(ledger, [detail], at_ms=START_MS, policy=MEASURED).ledger
    assert ledger.stages.wanted() == (2,)
    ledger = see(ledger, known(2, fetch=300))
    assert sums(ledger) == {"fetch": (0, 0)}
    assert ledger.stages.last == LastStages(2, {"fetch": 300})


def test_refused_stages_are_given_up_and_failed_ones_retried() -> None:
    ledger = see(settled(1, 2, 3), Refused(1), Failed(3))
    assert ledger.stages.wanted() == (2, 3)
    for _ in range(TRIES - 1):
        assert 3 in ledger.stages.awaited
        ledger = see(ledger, Failed(3))
    assert ledger.stages.wanted() == (2,)


def test_without_a_record_id_or_a_detail_stages_are_not_requested() -> None:
    build = [Build(number, Result.SUCCESS, finish_ms=START_MS + 1) for number in (1, 2)]
    ledger = apply_history(empty(), build, at_ms=START_MS).ledger
    answers: list[DetailAnswer] = [BuildDetail(1, Result.SUCCESS), Refused(2)]
    ledger = apply_details(ledger, answers, at_ms=START_MS, policy=MEASURED).ledger
    assert (ledger.counts, ledger.stages.awaited) == ({Result.SUCCESS: 2}, {})


def test_switched_off_nothing_waits_and_known_stages_stay() -> None:
    ledger = see(settled(1, 2), known(1, fetch=300))
    off = apply_stages(settled(3, ledger=ledger, policy=LabelPolicy()), [known(2, fetch=1)])
    assert off.stages.awaited == {}
    assert sums(off) == {"fetch": (1, 300)}
    on = see(settled(4, ledger=off), known(3, fetch=1), known(4, fetch=200))
    assert sums(on) == {"fetch": (2, 500)}


def test_thirty_names_are_kept_and_the_rest_is_other() -> None:
    lengths = {f"stage {nth:02}": nth for nth in range(1, STAGE_NAMES_KEPT + 6)}
    ledger = see(settled(1, 2), known(1, **lengths), known(2, late=7, **{OTHER: 1, "stage 01": 1}))
    rest = range(STAGE_NAMES_KEPT + 1, STAGE_NAMES_KEPT + 6)
    assert len(ledger.stages.durations) == STAGE_NAMES_KEPT + 1
    assert sums(ledger)[OTHER] == (len(rest) + 2, sum(rest) + 8)
    assert sums(ledger)["stage 01"] == (2, 2)
    assert ledger.stages.last == LastStages(2, {OTHER: 8, "stage 01": 1})


def test_a_stage_named_other_does_not_use_up_a_name() -> None:
    lengths = {OTHER: 5, **{f"stage {nth:02}": nth for nth in range(1, STAGE_NAMES_KEPT + 1)}}
    ledger = see(settled(1), known(1, **lengths))
    assert sums(ledger) == {name: (1, length_ms) for name, length_ms in lengths.items()}


def test_the_number_of_waiting_builds_is_bounded() -> None:
    ledger = settled(*range(1, AWAITED_KEPT + 4))
    assert sorted(ledger.stages.awaited) == list(range(4, AWAITED_KEPT + 4))


def test_other_buckets_keep_counts_and_sums() -> None:
    ledger = see(settled(1, 2), known(1, fetch=300, build=20_000), known(2, fetch=500))
    other = ledger.with_buckets(Buckets.of_seconds((30, 600), (1, 60), (300,)))
    assert sums(other) == sums(ledger)
    assert {one.bounds for one in other.stages.durations.values()} == {(30_000, 600_000)}
    assert other.with_buckets(Buckets.of_seconds((30, 600), (1, 60), (300,))) is other


def test_a_job_with_awaited_stages_agrees_with_a_list() -> None:
    ledger = settled(1)
    listed = ListedJob("a" * 32, JobNames(), last_build_ms=START_MS, is_finished=True, number=1)
    assert ledger.stages.awaited
    assert ledger.agrees_with(listed)


builds_of_stages = st.lists(
    st.dictionaries(st.sampled_from(["fetch", "build", "test", OTHER]), st.integers(0, 10**8), max_size=4),
    min_size=1,
    max_size=8,
)


def recount(builds: Iterable[dict[str, int]]) -> dict[str, tuple[int, int]]:
    counts, lengths = Counter[str](), Counter[str]()
    for stages in builds:
        for name, length_ms in stages.items():
            counts[name] += 1
            lengths[name] += length_ms
    return {name: (counts[name], lengths[name]) for name in sorted(counts)}


@given(st.data(), builds_of_stages)
def test_any_order_split_and_repetition_give_the_same_ledger(
    data: st.DataObject, builds: list[dict[str, int]]
) -> None:
    answers = [known(number, **stages) for number, stages in enumerate(builds, 1)]
    numbers = range(1, len(builds) + 1)
    wanted = see(settled(*numbers), *answers)
    ledger = settled(*numbers)
    order = data.draw(st.permutations(answers + data.draw(st.lists(st.sampled_from(answers), max_size=6))))
    while order:
        size = data.draw(st.integers(1, len(order)))
        ledger, order = see(ledger, *order[:size]), order[size:]
    assert ledger == wanted
    assert sums(ledger) == recount(builds)


@given(st.data(), builds_of_stages)
def test_builds_settled_one_by_one_are_measured_as_if_settled_at_once(
    data: st.DataObject, builds: list[dict[str, int]]
) -> None:
    answers = [known(number, **stages) for number, stages in enumerate(builds, 1)]
    ledger = empty()
    for number in range(1, len(builds) + 1):
        ledger = settled(number, ledger=ledger)
        ledger = see(ledger, *data.draw(st.lists(st.sampled_from(answers), max_size=4)))
    assert see(ledger, *answers) == see(settled(*range(1, len(builds) + 1)), *answers)


some_answers = st.one_of(
    st.builds(
        KnownStages,
        st.integers(1, 8),
        st.lists(st.builds(Stage, st.integers(0, 40).map(str), st.integers(0, 10**9)), max_size=40).map(
            tuple
        ),
    ),
    st.builds(Refused, st.integers(1, 8)),
    st.builds(Failed, st.integers(1, 8)),
)


@given(st.lists(st.tuples(st.lists(some_answers, max_size=4), st.booleans()), max_size=10))
def test_counters_never_decrease_and_stay_few(
    polls: list[tuple[list[StageAnswer], bool]],
) -> None:
    ledger = empty()
    for number, (answers, measured) in enumerate(polls, 1):
        before = sums(ledger)
        policy = replace(MEASURED, stages=measured)
        ledger = settled(number, ledger=ledger, policy=policy)
        ledger = apply_stages(ledger, answers, policy=policy)
        after = sums(ledger)
        assert all(
            now >= then for name in before for now, then in zip(after[name], before[name], strict=True)
        )
        assert len(after) <= STAGE_NAMES_KEPT + 1
        assert list(after) == sorted(after)
        assert ledger.counts == {Result.SUCCESS: number}
