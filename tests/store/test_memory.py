"""The store in memory: like one in a file, for one process."""

from dataclasses import replace

from exporter.model import JobNames
from exporter.store import MemoryStore
from exporter.store.memory import MOST_GONE
from tests.ledger.examples import at, idle

LEDGER = idle()
NAMES = JobNames("checkout", "shop", "1" * 32)


def test_it_returns_what_was_committed_and_what_the_caller_holds() -> None:
    store = MemoryStore()
    store.commit({"a": LEDGER, "b": LEDGER})
    newer = replace(LEDGER, polled_ms=at(5))
    assert store.load(None, {"b": newer}) == {"a": LEDGER, "b": newer}
    assert store.load(["a", "c"]) == {"a": LEDGER}


def test_pruning_deletes_what_is_neither_watched_nor_young() -> None:
    store = MemoryStore()
    store.commit({"old": LEDGER, "watched": LEDGER, "young": replace(LEDGER, polled_ms=at(5))})
    store.commit({"gone": LEDGER.as_removed(NAMES)})
    assert store.prune({"watched"}, at(5)) == 2
    assert store.load(None).keys() == {"watched", "young"}


def test_of_the_jobs_that_are_gone_the_latest_are_kept() -> None:
    store = MemoryStore()
    store.commit({"watched": LEDGER, "back": LEDGER.as_removed(NAMES)})
    store.commit({"back": LEDGER})
    for number in range(MOST_GONE + 5):
        store.commit({str(number): LEDGER.as_removed(NAMES)})
    left = {str(number) for number in range(5, MOST_GONE + 5)}
    assert store.load(None).keys() == {"watched", "back", *left}
