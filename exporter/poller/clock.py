"""What time it is for the service; no I/O."""

from collections.abc import Callable
from typing import Final, TypeVar

from exporter.api.clock import AGREED, ClockOffset
from exporter.model import DAY_MS

Value = TypeVar("Value")

_LEAP_MS: Final = DAY_MS // 2

_JITTER_S: Final = 5.0
"""``Date`` knows whole seconds, and an answer takes its time."""


def service_ms(wall_s: float, offset_s: float | None) -> int:
    """Now in milliseconds since the epoch, by the service's clock where it is to be believed, else by ours.

    Args:
        wall_s: our clock, seconds since the epoch.
        offset_s: the service's clock minus ours, as far as it is believed; None where it is not known.
    """
    told_s = offset_s or 0.0
    return round((wall_s + (told_s if abs(told_s) > _JITTER_S else 0.0)) * 1000)


def at_settled_time(ask: Callable[[int], Value], now_ms: Callable[[], int], clock: ClockOffset) -> Value:
    """What comes of asking at a certain time; asked again where the answers told that it is days off.

    Args:
        ask: asks the service; takes the present.
        now_ms: the present, by the service's clock as far as it is believed.
        clock: learns from the answers.
    """
    for _ in range(AGREED):
        at_ms = now_ms()
        value = ask(at_ms)
        if not clock.is_undecided and abs(now_ms() - at_ms) < _LEAP_MS:
            return value
    return ask(now_ms())
