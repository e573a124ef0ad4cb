"""Our clock against the service's; pure."""

from typing import Final

from exporter.config.durations import format_duration
from exporter.doctor.findings import Section, note, ok, problem

_GOOD_S: Final = 5
_BEARABLE_S: Final = 300
"""The provider's signing guide: signatures whose time is more than 15 minutes off are refused."""

_REPAIR: Final = (
    "let NTP set the machine's clock (chronyd, systemd-timesyncd; of a container, the host's): "
    '"timedatectl" shows whether it does'
)


def clock(offset_s: float | None) -> Section:
    """How far our clock is off; ``offset_s`` is the service's clock minus ours, None where unknown."""
    if offset_s is None:
        return Section("Clock", (note("not compared: no answer told the time"),))
    seconds = round(abs(offset_s))
    way = "behind" if offset_s > 0 else "ahead of"
    text = f"this machine is {format_duration(float(seconds))} {way} the service"
    if seconds <= _GOOD_S:
        return Section("Clock", (ok(f"within {_GOOD_S} s of the service's"),))
    if seconds <= _BEARABLE_S:
        return Section("Clock", (note(f"{text}; signatures bear 15 minutes", _REPAIR),))
    return Section(
        "Clock",
        (
            problem(
                f"{text}; signatures more than 15 minutes off are refused, and new builds are dated wrong",
                _REPAIR,
            ),
        ),
    )
