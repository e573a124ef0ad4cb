"""What time it is for the service; pure."""

from typing import Final

_TRUSTED_OFFSET_S: Final = (5.0, 86_400.0)
"""The service's clock is believed when it is off by more than jitter and less than madness."""


def service_ms(wall_s: float, offset_s: float | None) -> int:
    """Now in milliseconds since the epoch, by the service's clock where it is to be believed, else by ours.

    Args:
        wall_s: our clock, seconds since the epoch.
        offset_s: the service's clock minus ours, as its answers told it; None where none did.
    """
    jitter, madness = _TRUSTED_OFFSET_S
    told_s = offset_s or 0.0
    return round((wall_s + (told_s if jitter < abs(told_s) < madness else 0.0)) * 1000)
