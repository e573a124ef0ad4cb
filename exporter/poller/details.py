"""Requests for details of single builds, and how often a poll asks for each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    NotVisibleError,
    RefusalError,
    ThrottledError,
    UnreachableError,
)
from exporter.ledger.build_labels import LabelPolicy
from exporter.ledger.fold_observations import DetailAnswer, Failed, Refused, apply_details
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.job_list_evidence import is_reached, may_show_the_next, numbers_to_ask
from exporter.ledger.unexpected_numbers import doubtful_numbers
from exporter.model import Build, BuildDetail, ListedJob, Trigger

FORBIDDEN: Final = "403"
"""Code that denies a detail for good; with another one, a replica may only lag behind history."""

REFUSES_CREDENTIALS: Final = "401"
"""Code that is no answer about a build, also where other operations accept the credentials."""

MOST_DOUBTED: Final = 3
"""Groups of doubtful numbers for which record-info is asked; those below are left out."""

FAILED_IN_A_ROW: Final = 2
"""Failures in a row that are the API's, not those of single builds."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class BatchResult(Generic[Value]):
    """Answers to requests for several builds.

    Attributes:
        answers: for each build that was requested, in order.
        error: why the others were not requested.
        failure: the last failure, or `error`.
        refusal: the last refusal.
    """

    answers: list[Value | Refused | Failed]
    error: ApiError | None = None
    failure: ApiError | None = None
    refusal: ApiError | None = None


def ask_each(
    numbers: Iterable[int], ask: Callable[[int], Value], fatal: type[ApiError]
) -> BatchResult[Value]:
    """Request builds one by one, until the API as a whole fails: with a `fatal` error twice in a row."""
    answers: list[Value | Refused | Failed] = []
    failure: ApiError | None = None
    refusal: ApiError | None = None
    failed = 0
    for number in numbers:
        try:
            answers.append(ask(number))
        except RefusalError as error:
            answers.append(Refused(number))
            refusal = error
        except (CredentialsError, ThrottledError) as error:
            return BatchResult(answers, error, error, refusal)
        except ApiError as error:
            answers.append(Failed(number))
            failure = error
            failed = failed + 1 if isinstance(error, fatal) else 0
            if failed == FAILED_IN_A_ROW:
                return BatchResult(answers, error, error, refusal)
            continue
        failed = 0
    return BatchResult(answers, None, failure, refusal)


class Details:
    """Record-info of one job; in one poll, each build is requested once at most, by `record_info`."""

    def __init__(self, record_info: Callable[[int], BuildDetail]) -> None:
        self._record_info = record_info
        self._answers: dict[int, BuildDetail | ApiError] = {}

    def ask(self, number: int) -> BuildDetail:
        """Return the details of a build, or raise what its request raised."""
        if number not in self._answers:
            try:
                self._answers[number] = self._record_info(number)
            except ApiError as error:
                self._answers[number] = error
        answer = self._answers[number]
        if isinstance(answer, ApiError):
            raise answer
        return answer


def ask_details(
    numbers: Iterable[int], details: "Details", is_final: Callable[[int], bool]
) -> tuple[list[DetailAnswer], ApiError | None]:
    """Request details; requests that fail because the API is unreachable do not count as tries.

    History has just answered, so a single unreachable one is a try, and so is a denial that is not final.
    Requests that are not sent, since record-info has just refused the credentials, are no tries either.
    """

    def ask(number: int) -> BuildDetail:
        try:
            return details.ask(number)
        except (NotVisibleError, BackendError) as error:
            if error.is_pause:
                raise ThrottledError(str(error), code=error.code, retry_after=error.retry_after) from None
            is_denial = isinstance(error, NotVisibleError) and error.code != REFUSES_CREDENTIALS
            if is_denial and (error.code == FORBIDDEN or is_final(number)):
                raise
            raise BackendError(str(error), code=error.code, error_code=error.error_code) from None

    batch = ask_each(numbers, ask, UnreachableError)
    if isinstance(batch.error, UnreachableError):
        return batch.answers[:-FAILED_IN_A_ROW], batch.error
    return batch.answers, batch.error


def without_false_numbers(
    builds: tuple[Build, ...], ledger: JobLedger, details: Details
) -> tuple[Build, ...]:
    """Leave out a few records of history far above all others if record-info does not know the highest."""
    for tried, group in enumerate(doubtful_numbers(ledger, builds)):
        if tried < MOST_DOUBTED and not _is_unknown(group[-1], details):
            break
        builds = tuple(build for build in builds if build.number not in group)
    return builds


def _is_unknown(number: int, details: Details) -> bool:
    """Ask whether a build exists; without an answer for now, the poll is to be tried again."""
    try:
        details.ask(number)
    except (CredentialsError, ThrottledError, UnreachableError):
        raise
    except ApiError as error:
        return _says_unknown(error)
    return False


def _says_unknown(error: ApiError) -> bool:
    """Return whether an answer of record-info says that there is no such build."""
    return isinstance(error, NotVisibleError) and error.code not in (FORBIDDEN, REFUSES_CREDENTIALS)


def ask_listed(
    ledger: JobLedger, listed: ListedJob, details: Details, policy: LabelPolicy, at_ms: int
) -> tuple[list[BuildDetail], bool]:
    """Request the builds that a job list shows and the ledger does not, without reading history.

    Returns:
        The answers to fold, and whether they are all that the list shows. Otherwise history has to be read.

    Raises:
        CredentialsError: history would be refused too.
    """
    answers: list[BuildDetail] = []
    is_all = False
    for number in numbers_to_ask(ledger, listed, at_ms):
        try:
            detail = details.ask(number)
        except CredentialsError:
            raise
        except ApiError as error:
            return answers, is_all and _says_unknown(error)
        if not _is_whole(detail, policy):
            return answers, False
        ledger = apply_details(ledger, [detail], at_ms=at_ms).ledger
        if number > ledger.highest:
            return answers, False
        answers.append(detail)
        if is_reached(ledger, listed, detail):
            is_all = detail.result is not None or listed.is_finished is not True
            if not (is_all and may_show_the_next(listed, detail)):
                return answers, is_all
    return answers, False


def _is_whole(detail: BuildDetail, policy: LabelPolicy) -> bool:
    """Return whether history could add nothing to the details of a build."""
    if detail.result is None:
        return detail.state is not None
    has_trigger = detail.trigger is not Trigger.UNKNOWN or not policy.trigger
    has_branch = bool(detail.branch) or policy.branch is None
    return None not in (detail.start_ms, detail.finish_ms) and has_trigger and has_branch
