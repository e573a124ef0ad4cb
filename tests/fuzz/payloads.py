"""Damaged responses: each is parsed or raises an `ApiError` or `PayloadError`; valid records are kept.

``python -m tests.fuzz.payloads --runs N --seed S``
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from exporter.api.parsers import build_detail, history_page, job_list_page, project_page, recycle_page
from exporter.api.response_errors import parse_response
from exporter.api.stage_parser import build_stages
from exporter.errors import ApiError, PayloadError
from exporter.ledger.fold_observations import apply_details, apply_history, baseline, give_up
from exporter.ledger.histogram import Buckets
from exporter.ledger.job_ledger import JobLedger
from exporter.model import Build, BuildDetail, Result
from exporter.store.serialization import decode, encode
from tests.fuzz.command import main
from tests.fuzz.damage import as_bytes, damaged

EXAMPLES: Final = Path(__file__).parents[1] / "fixtures" / "api"
JOB: Final = "f9d6c8466d614a9788e9a0acf6c15f46"
NOW_MS: Final = 1_700_000_000_000
DAY_MS: Final = 86_400_000
BUCKETS: Final = Buckets.of_seconds((10, 60, 600), (1, 60), (300, 3600))
STATUSES: Final = (*[200] * 30, 204, 302, 400, 401, 403, 404, 418, 429, 500, 503, 599)

_JOBS: Final = {
    "total": 2,
    "jobs": [
        {
            "id": JOB,
            "job_name": "checkout",
            "build_number": 7,
            "last_build_time": NOW_MS,
            "is_finished": True,
        },
        {"id": "0" * 32, "job_name": "nightly", "build_number": 0, "last_build_time": None},
    ],
}
_PROJECTS: Final = {"result": {"total": 1, "project_info_list": [{"identifier": "p", "name": "shop"}]}}

_STAGES: Final = {
    "result": {
        "build_stages": {
            "initial": {"display_name": "initial", "duration": 9000, "sequence": 0, "status": "SUCCESS"},
            "stage1": {"display_name": "Shell", "build_duration": 80, "pending_duration": 1, "sequence": 1},
        }
    }
}


def _example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


RESPONSES: Final[tuple[tuple[Any, Callable[[object], object]], ...]] = (
    (_example("period-history"), lambda answer: history_page(answer, JOB)),
    (_example("record-info"), lambda answer: build_detail(answer, JOB, 532)),
    (_example("recycling-jobs"), recycle_page),
    (_JOBS, job_list_page),
    (_PROJECTS, project_page),
    (_STAGES, build_stages),
)


def run(runs: int, seed: int) -> Counter[str]:
    """Parse damaged responses, and return how often each outcome occurred.

    Raises:
        Exception: a parser raised an unexpected error, or an invariant is violated.
    """
    rng = Random(seed)
    outcomes: Counter[str] = Counter()
    ledger = _new_ledger()
    for _ in range(runs):
        example, parse = rng.choice(RESPONSES)
        value = example
        for _ in range(rng.randrange(1, 6)):
            value = damaged(value, rng)
        try:
            answer = parse_response(
                rng.choice(STATUSES), {"Retry-After": rng.choice(("", "7", "x"))}, as_bytes(value, rng)
            )
            parsed = parse(answer)
        except (ApiError, PayloadError) as error:
            outcomes[type(error).__name__] += 1
            continue
        outcomes["parsed"] += 1
        if isinstance(parsed, tuple) and isinstance(parsed[0], BuildDetail):
            ledger = _fold(ledger, rng, details=[parsed[0]])
        elif hasattr(parsed, "records"):
            builds = [record for record in parsed.records if isinstance(record, Build)]
            ledger = _fold(ledger, rng, history=builds)
    _check_valid_records_are_kept(rng, max(1, runs // 10))
    return outcomes


def _new_ledger() -> JobLedger:
    """Return the ledger of a job with one counted success."""
    ledger = baseline([], at_ms=NOW_MS, buckets=BUCKETS).ledger
    build = Build(1, Result.SUCCESS, start_ms=NOW_MS, finish_ms=NOW_MS + 60_000)
    ledger = apply_history(ledger, [build], at_ms=NOW_MS).ledger
    return apply_details(ledger, [BuildDetail(1, Result.SUCCESS)], at_ms=NOW_MS).ledger


def _fold(
    ledger: JobLedger,
    rng: Random,
    history: list[Build] | None = None,
    details: list[BuildDetail] | None = None,
) -> JobLedger:
    """Fold builds into a ledger and check that counters and sums do not decrease and the row is readable.

    A large ledger is replaced by a new one.
    """
    at_ms = ledger.polled_ms + rng.randrange(DAY_MS)
    after = apply_history(ledger, history or [], at_ms=at_ms).ledger
    after = apply_details(after, details or [], at_ms=at_ms).ledger
    after = give_up(after, at_ms=at_ms, patience_ms=DAY_MS).ledger
    for result, builds in ledger.counts.items():
        assert after.counts[result] >= builds
    for before, now in ((ledger.queue, after.queue), (ledger.recovery, after.recovery)):
        assert now.sum_ms >= before.sum_ms
        assert now.count >= before.count
    assert decode(encode(after)) == after
    return _new_ledger() if len(after.runs) > 50 or len(after.open) > 50 else after


def _check_valid_records_are_kept(rng: Random, runs: int) -> None:
    """Check that a damaged record does not affect the other records of its page."""
    record = _example("period-history")[
        "history_records"
    ]  # an object in the documentation, a list in real responses
    valid = [{**record, "build_number": number} for number in (7, 8, 9)]
    expected = history_page({"total": 3, "history_records": valid}, JOB).records
    for _ in range(runs):
        index = rng.randrange(4)
        records = [*valid[:index], damaged({**record, "build_number": 99}, rng), *valid[index:]]
        page = history_page({"total": 4, "history_records": records}, JOB)
        assert tuple(build for build in page.records if build.number in (7, 8, 9)) == expected
        assert page.size == 4


if __name__ == "__main__":
    main(__doc__, run, 100_000, "damaged responses")
