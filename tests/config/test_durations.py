import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5_400.0),
        ("7d", 604_800.0),
        ("1w", 604_800.0),
        ("1y", 31_536_000.0),
        ("1y2w3d4h5m6s7ms", 33_019_506.007),
    ],
)
def test_durations_are_written_as_in_prometheus(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "5 m", " 5m", "5m\n", "-5m", "1.5h", "30s5m", "5m5m", "5M", "m", "٣s", "1e3s", "9" * 5000],
)
def test_anything_else_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a duration$"):
        parse_duration(text)


def test_no_duration_is_longer_than_prometheus_can_hold() -> None:
    with pytest.raises(ValueError, match=r"^longer than 292 years$"):
        parse_duration("293y")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.5, "500ms"), (5_400, "1h30m"), (129_600, "36h"), (2_592_000, "30d"), (604_800, "1w")],
)
def test_long_units_are_used_only_where_nothing_remains(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 2**63 // 1_000_000))
def test_a_duration_survives_being_written_and_read(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000
