"""Asking for one thing after another, with care for an API that is in trouble."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from exporter.errors import ApiError, CredentialsError, NotVisibleError, RejectedError, ThrottledError
from exporter.ledger import Failed, Refused

Value = TypeVar("Value")

FAILED_IN_A_ROW: Final = 2


@dataclass(frozen=True, slots=True)
class Asked(Generic[Value]):
    """What came of asking for some builds.

    Attributes:
        answers: of each build that was asked for, in that order.
        error: why the others were not; None where there are none.
        failure: why the last of those that failed did, or ``error``; None where nothing failed.
        refusal: why the last of those that were refused was; None where none was.
    """

    answers: list[Value | Refused | Failed]
    error: ApiError | None = None
    failure: ApiError | None = None
    refusal: ApiError | None = None


def ask_each(numbers: Iterable[int], ask: Callable[[int], Value], trouble: type[ApiError]) -> Asked[Value]:
    """Ask for one build after another, until the API as a whole is in trouble.

    One answer that does not come is that build's own trouble; two in a row are the API's.

    Args:
        numbers: of the builds.
        ask: asks for one of them.
        trouble: what two of in a row end the asking.
    """
    answers: list[Value | Refused | Failed] = []
    failure: ApiError | None = None
    refusal: ApiError | None = None
    failed = 0
    for number in numbers:
        try:
            answers.append(ask(number))
        except (NotVisibleError, RejectedError) as error:
            answers.append(Refused(number))
            refusal = error
        except (CredentialsError, ThrottledError) as error:
            return Asked(answers, error, error, refusal)
        except ApiError as error:
            answers.append(Failed(number))
            failure = error
            failed = failed + 1 if isinstance(error, trouble) else 0
            if failed == FAILED_IN_A_ROW:
                return Asked(answers, error, error, refusal)
            continue
        failed = 0
    return Asked(answers, None, failure, refusal)
