"""Any ledger that the reducer can come to, and one to start from."""

from typing import Final

from hypothesis import strategies as st

from exporter.ledger.build_labels import LabelPolicy
from exporter.ledger.fold_observations import (
    DetailAnswer,
    Failed,
    Refused,
    StageAnswer,
    apply_details,
    apply_history,
    apply_stages,
    baseline,
    give_up,
)
from exporter.ledger.histogram import Buckets
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import KnownStages
from exporter.model import Build, BuildDetail, Result, Stage, State, Trigger

START_MS: Final = 1_700_000_000_000
PATIENCE_MS: Final = 3_600_000
BUCKETS: Final = Buckets.of_seconds((10, 60, 600), (1, 60), (300, 3600))

_numbers = st.integers(1, 40) | st.integers(700_000, 700_002)
_moments = st.none() | st.integers(START_MS - 10**8, START_MS + 10**8)
_branches = st.sampled_from(["", "main", "发布/一", 'odd "\\\n', "\u2028"])

_builds = st.builds(
    Build,
    number=_numbers,
    result=st.none() | st.sampled_from(Result),
    state=st.none() | st.sampled_from(State),
    start_ms=_moments,
    finish_ms=_moments,
    branch=_branches,
    trigger=st.sampled_from(Trigger),
)
_answers: st.SearchStrategy[DetailAnswer] = st.one_of(
    st.builds(
        BuildDetail,
        number=_numbers,
        result=st.none() | st.sampled_from(Result),
        state=st.none() | st.sampled_from(State),
        queued_ms=_moments,
        start_ms=_moments,
        finish_ms=_moments,
        duration_ms=st.none() | st.integers(-(10**10), 10**12),
        record_id=st.sampled_from(["", "94baa8ec-fd3f-4cae-81af-b24385a7220f"]),
    ),
    st.builds(Refused, number=_numbers),
    st.builds(Failed, number=_numbers),
)
_stages: st.SearchStrategy[StageAnswer] = st.one_of(
    st.builds(
        KnownStages,
        number=_numbers,
        stages=st.lists(st.builds(Stage, _branches, st.integers(0, 10**9)), max_size=4).map(tuple),
    ),
    st.builds(Refused, number=_numbers),
    st.builds(Failed, number=_numbers),
)


@st.composite
def ledgers(draw: st.DrawFn) -> JobLedger:
    """A baseline, then polls of anything."""
    now_ms = START_MS
    ledger = baseline(draw(st.lists(_builds, max_size=6)), at_ms=now_ms, buckets=BUCKETS).ledger
    for _ in range(draw(st.integers(0, 5))):
        now_ms += draw(st.integers(0, 2 * PATIENCE_MS))
        builds, answers = draw(st.lists(_builds, max_size=6)), draw(st.lists(_answers, max_size=6))
        ledger = apply_history(ledger, builds, at_ms=now_ms, after_gap=draw(st.booleans())).ledger
        policy = LabelPolicy(
            draw(st.booleans()),
            draw(st.sampled_from([None, str])),
            draw(st.booleans()),
            stages=draw(st.sampled_from([True, True, False])),
        )
        ledger = apply_details(ledger, answers, at_ms=now_ms, policy=policy).ledger
        ledger = give_up(ledger, at_ms=now_ms, patience_ms=PATIENCE_MS, policy=policy).ledger
        ledger = apply_stages(ledger, draw(st.lists(_stages, max_size=6)), policy=policy)
    return ledger.as_removed(ledger.names) if draw(st.booleans()) else ledger


def counted(builds: int, polled_ms: int = START_MS) -> JobLedger:
    """The ledger of a job that has had so many successful builds since it was first watched."""
    ledger = baseline([], at_ms=START_MS, buckets=BUCKETS).ledger
    for number in range(1, builds + 1):
        moment = START_MS + number * 1000
        known = Build(number, result=Result.SUCCESS, start_ms=moment, finish_ms=moment + 500)
        detail = BuildDetail(number, result=Result.SUCCESS, queued_ms=moment - 5, start_ms=moment)
        ledger = apply_history(ledger, [known], at_ms=polled_ms).ledger
        ledger = apply_details(ledger, [detail], at_ms=polled_ms).ledger
    return ledger
