"""Asking for one thing after another, with care for an API that is in trouble."""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from exporter.errors import ApiError, CredentialsError, NotVisibleError, RejectedError, ThrottledError
from exporter.ledger import Failed, Refused

Value = TypeVar("Value")

FAILED_IN_A_ROW: Final = 2


def ask_each(
    numbers: Iterable[int], ask: Callable[[int], Value], trouble: type[ApiError]
) -> tuple[list[Value | Refused | Failed], ApiError | None]:
    """Ask for one build after another, until the API as a whole is in trouble.

    History has answered just now, so one answer that does not come is that build's own trouble; two in a row
    are the API's.

    Args:
        numbers: of the builds.
        ask: asks for one of them.
        trouble: what two of in a row end the asking.

    Returns:
        What came of each build that was asked for, and why the others were not.
    """
    answers: list[Value | Refused | Failed] = []
    failed = 0
    for number in numbers:
        try:
            answers.append(ask(number))
        except (NotVisibleError, RejectedError):
            answers.append(Refused(number))
        except (CredentialsError, ThrottledError) as error:
            return answers, error
        except ApiError as error:
            answers.append(Failed(number))
            failed = failed + 1 if isinstance(error, trouble) else 0
            if failed == FAILED_IN_A_ROW:
                return answers, error
            continue
        failed = 0
    return answers, None
