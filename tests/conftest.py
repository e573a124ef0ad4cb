"""What holds for all tests."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take minutes begin first, so that none of them is left alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
