"""What was asked of the simulator and what it said, to be counted by tests."""

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass

CAPACITY = 20_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; ``status`` is what was sent, even where the connection then broke."""

    at_ms: int
    operation: str
    job: str | None
    method: str
    target: str
    status: int

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


class Journal:
    """The last exchanges, and counts of all. Safe to use from several threads."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=CAPACITY)
        self._counts: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def note(self, exchange: Exchange) -> None:
        """Writes one down."""
        with self._lock:
            self._exchanges.append(exchange)
            self._counts[exchange.operation, exchange.status] += 1

    def exchanges(self) -> list[Exchange]:
        """The last ones, oldest first."""
        with self._lock:
            return list(self._exchanges)

    def counts(self) -> Counter[tuple[str, int]]:
        """How many by operation and status."""
        with self._lock:
            return Counter(self._counts)

    def reset(self) -> None:
        """Forgets all."""
        with self._lock:
            self._exchanges.clear()
            self._counts.clear()
