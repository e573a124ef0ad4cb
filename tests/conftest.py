"""Settings and fixtures of all tests."""

import gc
from collections import Counter
from collections.abc import Iterator
from copy import copy

import pytest
import structlog
from hypothesis import HealthCheck, settings

from exporter import redaction

# Half of the default examples: each run tries others, and `thorough` tries twenty times as many.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50
)
settings.register_profile("thorough", settings.get_profile("shared machine"), max_examples=1000)
settings.load_profile("shared machine")

gc.set_threshold(100_000, 10_000)  # a tenth faster; each test's garbage is collected at its end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long tests first, so that none of them runs alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True, scope="module")
def _garbage_of_a_module() -> Iterator[None]:
    """Collect the garbage of this module's fixtures before the next module begins.

    Objects that exist at the start outlive the module; freezing them makes each collection cheap.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.collect()


@pytest.fixture(autouse=True, scope="module")
def _secrets_of_a_module() -> Iterator[None]:
    """Forget the secrets of a module, which would hide common words in other modules and slow them down."""
    known = vars(redaction._secrets)
    saved = {name: copy(value) for name, value in known.items() if name != "_lock"}
    yield
    known.update(saved)


@pytest.fixture(autouse=True, scope="module")
def _log_of_a_module() -> Iterator[None]:
    """Undo the log's settings of a command that ran in this process, which hide events from other modules."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _garbage_of_a_test() -> Iterator[None]:
    """Collect the garbage of a test, so that an unclosed file is reported for this test.

    What is left of earlier tests is in the oldest generation, which only the end of the module collects.
    """
    yield
    gc.collect(1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each reason to skip; pytest prints one for each test that a fixture skips."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"SKIPPED [{count}] {reason}")
