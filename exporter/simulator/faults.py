"""Faults that can be switched on, and which request each of them hits.

`KINDS` lists every fault and its fields with their defaults. Most rest on what has been seen live or is
documented; the others are guesses that the caller must survive.

A fault affects requests: all of them, a share (``probability``) or the next few (``times``). Those in
`BUILD_KINDS` affect builds instead: ``numbers`` or a share of the builds, always the same ones.
"""

import hashlib
import json
import random
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

KINDS: Final[dict[str, dict[str, object]]] = {
    # Instead of the response: gateway, network, backend. Without a code, ``withdrawn`` sends a page.
    "withdrawn": {"status": 404, "code": "APIGW.0101"},
    "throttle": {"status": 429, "retry_after": None, "announce": True, "code": "APIGW.0308"},
    "rate-limit": {"per_minute": 50, "each": False, "announce": True, "status": 429, "retry_after": False},
    "error": {"status": 500, "code": "CB.00060100", "message": "Internal error.", "shape": "error_code"},
    "html": {"status": 502},
    "body": {"status": 200, "text": "", "content_type": "application/json"},
    "unauthorized": {},
    # Transport of the response.
    "json-string": {},
    "truncated": {"keep": 0.5},
    "reset": {"keep": 0.0},
    "slow-drip": {"bytes_per_second": 100.0},
    "delay": {"seconds": 1.0},
    "hang": {"seconds": 3600.0},
    "date-skew": {"seconds": 0.0},
    # Pages and lists.
    "single-object": {},
    "no-records": {"shape": "null"},
    "wrong-total": {"value": -1},
    "order": {"by": "random"},
    "shifting-pages": {"by": 1},
    "record-offset": {},
    "exclusive-end": {},
    "zero-based-pages": {},
    "empty-list": {},
    "stale-list": {"seconds": 600.0},
    "wrong-last-build": {"number": 0, "seconds": 0.0, "finished": None},
    "list-shape": {"shape": "result"},
    # Records.
    "garbage-records": {"items": (7, None, "x", [[]], {}), "replace": False},
    "oversized-page": {"records": 100_000},
    "running-builds": {"show": "null"},
    "localised-triggers": {"language": "zh"},
    "missing-fields": {"fields": ()},
    "null-fields": {"fields": ()},
    "numbers-as-strings": {},
    "time-style": {"style": "compact"},
    "whole-seconds": {},
    "zero-durations": {},
    "strings-as-numbers": {},
    "records-dates": {"hours": 8.0, "by": "created"},
    "build-record-ids": {},
    "queue-as-number": {},
    # Single builds.
    "late-records": {"seconds": 60.0, "meanwhile": "absent", "numbers": None},
    "late-details": {"seconds": 5.0, "numbers": None},
    "lost-records": {"detail": "unknown", "numbers": None},
    "unknown-result": {"value": "UNSTABLE", "numbers": None},
    "unknown-phase": {"value": "SUSPENDED", "numbers": None},
    "backwards-clock": {"how": "start-after-finish", "numbers": None},
    # One endpoint against the others, so it needs an operation; the truth stays what it is.
    "disagreement": {"field": "duration", "seconds": 1.0, "numbers": None},
}

POLICIES: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "ten_50_min": (50, ("job-list", "project-job-list", "recycling-jobs", "projects", "record-list")),
    "ten_120_min": (120, ("record-info-v1", "records", "full-stages")),
    "cloudbuild_ext": (120, ("period-history", "record-info")),
}
"""The gateway's policies: requests a minute, a guess for the last one, and operations."""

OPERATIONS: Final = frozenset(
    ("auth", "metadata-token", "metadata-key", *(name for _, names in POLICIES.values() for name in names))
)

BUILD_KINDS: Final = frozenset(kind for kind, options in KINDS.items() if "numbers" in options)


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        operation: only for this one, such as ``record-info``, or for these; None for all.
        job: only for this job id; None for all, and for requests that concern no job.
        times: how many more requests it affects; None for no limit.
        options: the fields of its kind.
        fired: how many requests it has affected.

    Raises:
        ValueError: no such kind or operation, or the kind has no such field.
    """

    kind: str
    operation: str | tuple[str, ...] | None = None
    job: str | None = None
    probability: float = 1.0
    times: int | None = None
    options: dict[str, object] = field(default_factory=dict)
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known: {', '.join(sorted(KINDS))}")
        if unknown := self.options.keys() - KINDS[self.kind].keys():
            raise ValueError(f"the fault {self.kind!r} has no field {', '.join(sorted(unknown))}")
        if unknown := set(self.operations) - OPERATIONS:
            raise ValueError(
                f"unknown operation {', '.join(unknown)}; known: {', '.join(sorted(OPERATIONS))}"
            )
        self.options = {**KINDS[self.kind], **self.options}

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations it is for; empty for all."""
        return (self.operation,) if isinstance(self.operation, str) else self.operation or ()

    def matches(self, operation: str | None, job: str | None) -> bool:
        """Return whether a request is in the fault's scope; an ``operation`` of None stands for any."""
        if self.operations and operation is not None and operation not in self.operations:
            return False
        return self.job is None or self.job == job

    def number(self, name: str) -> float:
        """A field that is a number."""
        value = self.options[name]
        if not isinstance(value, int | float):
            raise TypeError(f"{name} of the fault {self.kind!r} is not a number: {value!r}")
        return value

    def text(self, name: str) -> str:
        """A field as text."""
        return str(self.options[name])

    def items(self, name: str) -> list[object]:
        """A field that is a list; empty if it is None."""
        value = self.options.get(name)
        return list(value) if isinstance(value, list | tuple | set | range) else []

    def to_json(self) -> dict[str, object]:
        """Convert to the form that `from_json` reads, with ``fired``."""
        operation = list(self.operation) if isinstance(self.operation, tuple) else self.operation
        scope = {"kind": self.kind, "operation": operation, "job": self.job}
        rate = {"probability": self.probability, "times": self.times, "fired": self.fired}
        lists = {name: self.items(name) for name, v in self.options.items() if isinstance(v, tuple | range)}
        return {**scope, **rate, **self.options, **lists}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Fault":
        """Read a flat object: ``kind``, the scope, and the fields of the kind.

        Raises:
            ValueError: it is not a fault.
        """
        fields = {name: item for name, item in value.items() if name != "fired"}
        if not isinstance(fields.get("probability", 1.0), int | float):
            raise ValueError("probability is not a number")
        if not isinstance(fields.get("times"), int | None):
            raise ValueError("times is not a number")
        if isinstance(operation := fields.get("operation"), list):
            fields["operation"] = tuple(map(str, operation))
        return fault(str(fields.pop("kind", None)), **fields)


def fault(
    kind: str,
    *,
    operation: str | tuple[str, ...] | None = None,
    job: str | None = None,
    probability: float = 1.0,
    times: int | None = None,
    **options: object,
) -> Fault:
    """Create a `Fault`, with the fields of its kind as keywords."""
    return Fault(kind, operation, job, probability, times, options)


def gateway_limits(*, shared: bool = False) -> list[Fault]:
    """The limits of all policies: for each operation by itself, or shared by those of a policy."""
    return [
        fault("rate-limit", operation=operations, per_minute=per_minute, each=not shared)
        for per_minute, operations in POLICIES.values()
    ]


class Faults:
    """The active faults; the seed selects what a probability affects. Safe to use from several threads."""

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        self._seed = seed
        self._rng = random.Random(f"{seed}/faults")
        self._reported: set[tuple[str, str, int]] = set()
        self._lock = threading.RLock()
        self.replace(faults)

    def active(self) -> list[Fault]:
        """The active faults."""
        with self._lock:
            return list(self._faults)

    def add(self, *faults: Fault) -> None:
        """Activate more faults."""
        with self._lock:
            self.replace([*self._faults, *faults])

    def replace(self, faults: Iterable[Fault]) -> None:
        """Activate these faults and no others."""
        with self._lock:
            self._faults = list(faults)
            # Responses ask for many kinds, for each build of a page.
            self._of_kind = {
                kind: [fault for fault in self._faults if fault.kind == kind]
                for kind in {fault.kind for fault in self._faults}
            }

    def clear(self, kind: str | None = None, operation: str | None = None) -> None:
        """Remove all faults, or those of a kind, or for an operation; other operations of a fault stay."""
        with self._lock:
            kept = []
            for fault in self._faults:
                if kind in (None, fault.kind):
                    if operation is None or fault.operations == (operation,):
                        continue
                    if operation in fault.operations:
                        fault.operation = tuple(name for name in fault.operations if name != operation)
                kept.append(fault)
            self.replace(kept)

    def fire(self, kind: str, operation: str, job: str | None = None) -> Fault | None:
        """Return the first fault of this kind that affects this request, and count it; None if none does."""
        if kind not in self._of_kind:
            return None
        with self._lock:
            return next(self._fire(kind, operation, job), None)

    def fire_all(self, kind: str, operation: str, job: str | None = None) -> list[Fault]:
        """Return and count all faults of this kind that affect this request."""
        with self._lock:
            return list(self._fire(kind, operation, job))

    def for_build(self, kind: str, operation: str | None, job: str, number: int) -> Fault | None:
        """Return the fault of this kind that affects this build; always the same for the same build."""
        for fault in self._of_kind.get(kind, ()):
            if fault.matches(operation, job) and self._selects(fault, job, number):
                return fault
        return None

    def mark_reported(self, kind: str, job: str, number: int) -> None:
        """Remember that a response has reported the finish of a build, or something false about it."""
        with self._lock:
            self._reported.add((kind, job, number))

    def was_reported(self, kind: str, job: str, number: int) -> bool:
        """Return whether a response has reported this about a build."""
        return (kind, job, number) in self._reported

    def _fire(self, kind: str, operation: str, job: str | None) -> Iterator[Fault]:
        for fault in self._of_kind.get(kind, ()):
            if fault.times == 0 or not fault.matches(operation, job):
                continue
            if fault.probability < 1 and self._rng.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
            fault.fired += 1
            yield fault

    def _selects(self, fault: Fault, job: str, number: int) -> bool:
        if fault.options["numbers"] is not None:
            return number in fault.items("numbers")
        if fault.probability >= 1:
            return True
        return _share(self._seed, fault.kind, job, number) < fault.probability


@lru_cache(maxsize=65_536)
def _share(*what: object) -> float:
    """A number from 0 to 1 that is always the same for the same arguments."""
    return int.from_bytes(hashlib.sha256(json.dumps(what).encode()).digest()[:6], "big") / (1 << 48)
