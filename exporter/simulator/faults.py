"""What can be made to go wrong, faults in records included.

`KINDS` lists every fault and its fields with their defaults. Most rest on what has been seen live or is
documented; where only guessed, the point is that the caller must survive it.

A fault strikes by request: all of them, a share (``probability``) or the next few (``times``). Those in
`BUILD_KINDS` strike by build instead: ``numbers`` or a share of the builds, always the same ones.
"""

import hashlib
import json
import random
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

KINDS: Final[dict[str, dict[str, object]]] = {
    # Instead of an answer: the gateway, the network, the backend.
    "throttle": {"status": 429, "retry_after": None, "announce": True, "code": "APIGW.0308"},
    "rate-limit": {"per_minute": 50, "announce": True, "status": 429, "retry_after": False},
    "error": {"status": 500, "code": "CB.00060100", "message": "Internal error.", "shape": "error_code"},
    "html": {"status": 502},
    "body": {"status": 200, "text": "", "content_type": "application/json"},
    "unauthorized": {},
    # On the way back.
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
    "queue-as-number": {},
    # Single builds.
    "late-records": {"seconds": 60.0, "meanwhile": "absent", "numbers": None},
    "late-details": {"seconds": 5.0, "numbers": None},
    "lost-records": {"detail": "unknown", "numbers": None},
    "unknown-result": {"value": "UNSTABLE", "numbers": None},
    "unknown-phase": {"value": "SUSPENDED", "numbers": None},
    "backwards-clock": {"how": "start-after-finish", "numbers": None},
}

BUILD_KINDS: Final = frozenset(kind for kind, options in KINDS.items() if "numbers" in options)


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: a key of `KINDS`.
        operation: only for this one, such as ``record-info``; None for all.
        job: only for this job id; None for all, and for requests that concern no job.
        probability: how often it strikes.
        times: how often it may still strike; None for as long as it is in the set.
        options: the fields of its kind.
        fired: how often it has struck.

    Raises:
        ValueError: no such kind, or the kind has no such field.
    """

    kind: str
    operation: str | None = None
    job: str | None = None
    probability: float = 1.0
    times: int | None = None
    options: dict[str, object] = field(default_factory=dict)
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault of the kind {self.kind!r}; there are {', '.join(sorted(KINDS))}")
        if strange := self.options.keys() - KINDS[self.kind].keys():
            raise ValueError(f"the fault {self.kind!r} has no field {', '.join(sorted(strange))}")
        self.options = {**KINDS[self.kind], **self.options}

    def concerns(self, operation: str | None, job: str | None) -> bool:
        """Whether the fault's scope holds a request; an ``operation`` of None stands for any."""
        if self.operation is not None and operation is not None and self.operation != operation:
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
        """A field that is a list; empty when it is None."""
        value = self.options[name]
        return list(value) if isinstance(value, list | tuple | set | range) else []

    def to_json(self) -> dict[str, object]:
        """The form that `from_json` reads, with ``fired``."""
        scope = {"kind": self.kind, "operation": self.operation, "job": self.job}
        rate = {"probability": self.probability, "times": self.times, "fired": self.fired}
        lists = {name: self.items(name) for name, v in self.options.items() if isinstance(v, tuple | range)}
        return {**scope, **rate, **self.options, **lists}

    @staticmethod
    def from_json(value: Mapping[str, object]) -> "Fault":
        """Reads a flat object: ``kind``, the scope, and the fields of the kind.

        Raises:
            ValueError: it is not a fault.
        """
        options = dict(value)
        kind, operation, job = (options.pop(name, None) for name in ("kind", "operation", "job"))
        probability, times = options.pop("probability", 1.0), options.pop("times", None)
        options.pop("fired", None)
        if not isinstance(probability, int | float) or not isinstance(times, int | None):
            raise ValueError("probability and times are numbers")
        names = [None if each is None else str(each) for each in (operation, job)]
        return Fault(str(kind), names[0], names[1], float(probability), times, options)


def fault(
    kind: str,
    *,
    operation: str | None = None,
    job: str | None = None,
    probability: float = 1.0,
    times: int | None = None,
    **options: object,
) -> Fault:
    """A `Fault`, with the fields of its kind as keywords.

    Raises:
        ValueError: no such kind, or the kind has no such field.
    """
    return Fault(kind, operation, job, probability, times, options)


class Faults:
    """The faults in force. Safe to use from several threads.

    Args:
        faults: in force from the start.
        seed: decides which requests and builds a share of them is.
    """

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        self._faults = list(faults)
        self._seed = seed
        self._dice = random.Random(f"{seed}/faults")
        self._told: set[tuple[str, str, int]] = set()
        self._lock = threading.RLock()

    def active(self) -> list[Fault]:
        """Those in force."""
        with self._lock:
            return list(self._faults)

    def add(self, *faults: Fault) -> None:
        """Puts more in force."""
        with self._lock:
            self._faults.extend(faults)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Puts these in force and no others."""
        with self._lock:
            self._faults = list(faults)

    def clear(self, kind: str | None = None) -> None:
        """Ends all faults, or all of one kind."""
        self.replace(each for each in self.active() if kind is not None and each.kind != kind)

    def fire(self, kind: str, operation: str, job: str | None = None) -> Fault | None:
        """The fault of this kind that strikes this request, which is used up by one; None if none does."""
        with self._lock:
            for each in self._faults:
                if each.kind != kind or each.times == 0 or not each.concerns(operation, job):
                    continue
                if each.probability < 1 and self._dice.random() >= each.probability:
                    continue
                if each.times is not None:
                    each.times -= 1
                each.fired += 1
                return each
        return None

    def strikes(self, kind: str, operation: str | None, job: str, number: int) -> Fault | None:
        """The fault of this kind that this build has, always the same for the same build."""
        with self._lock:
            for each in self._faults:
                if each.kind == kind and each.concerns(operation, job) and self._picks(each, job, number):
                    return each
        return None

    def tell(self, kind: str, job: str, number: int) -> None:
        """Remembers that a caller has been told something false about a build."""
        with self._lock:
            self._told.add((kind, job, number))

    def was_told(self, kind: str, job: str, number: int) -> bool:
        """Whether a caller was ever told this falsehood about a build."""
        return (kind, job, number) in self._told

    def _picks(self, each: Fault, job: str, number: int) -> bool:
        if each.options["numbers"] is not None:
            return number in each.items("numbers")
        if each.probability >= 1:
            return True
        text = json.dumps([self._seed, each.kind, job, number])
        share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / (1 << 48)
        return share < each.probability


LISTS: Final = {
    "period-history": "history_records",
    "recycling-jobs": "job_list",
    "job-list": "job_list",
    "project-job-list": "jobs",
    "projects": "project_info_list",
    "record-list": "job_build_states",
}

KEYS: Final = {
    "period-history": "build_number",
    "recycling-jobs": "job_id",
    "job-list": "id",
    "project-job-list": "id",
    "projects": "identifier",
    "record-list": "number",
}
"""What tells the records of a list apart."""

RECORD_KINDS: Final = ("missing-fields", "null-fields", "numbers-as-strings")


def mangle(body: dict[str, object], faults: Faults, operation: str, job: str | None) -> dict[str, object]:
    """Applies the faults of lists and records to a body, which it changes in place."""
    holder = body.get("result", body)
    if not isinstance(holder, dict):
        return body
    if operation not in LISTS:
        stages = holder.get("build_stages")
        for change in _changes(faults, operation, job):
            for record in stages.values() if isinstance(stages, dict) else (holder,):
                change(record)
        return body
    name = LISTS[operation] if LISTS[operation] in holder else "job_list"
    records = holder[name]
    if isinstance(records, list):
        for change in _changes(faults, operation, job):
            for record in records:
                change(record)
        holder[name] = _mangle_list(records, faults, operation, job)
        if holder[name] is ABSENT:
            del holder[name]
    _mangle_total(holder, faults, operation, job)
    return body


class Change:
    """One way of spoiling a record."""

    def __init__(self, kind: str, fields: list[object]) -> None:
        self._kind = kind
        self._fields = fields

    def __call__(self, record: dict[str, object]) -> None:
        """Spoils a record in place."""
        if self._kind == "numbers-as-strings":
            for name, value in record.items():
                if isinstance(value, int) and not isinstance(value, bool):
                    record[name] = str(value)
            return
        for name in (str(each) for each in self._fields if each in record):
            if self._kind == "missing-fields":
                del record[name]
            else:
                record[name] = None


ABSENT: Final = object()


def _changes(faults: Faults, operation: str, job: str | None) -> Iterator[Change]:
    for kind in RECORD_KINDS:
        if struck := faults.fire(kind, operation, job):
            yield Change(kind, struck.items("fields") if "fields" in struck.options else [])


def _mangle_list(records: list[object], faults: Faults, operation: str, job: str | None) -> object:
    if struck := faults.fire("garbage-records", operation, job):
        garbage = struck.items("items")
        kept = records[len(garbage) :] if struck.options["replace"] else records
        records = [*garbage, *kept]
    if struck := faults.fire("oversized-page", operation, job):
        key, bare = KEYS[operation], range(1, 1 + int(struck.number("records")))
        records = [{key: n if "number" in key else f"{n:032x}", "name": f"{n}"} for n in bare]
    if not records and (struck := faults.fire("no-records", operation, job)):
        return None if struck.text("shape") == "null" else ABSENT
    if len(records) == 1 and faults.fire("single-object", operation, job):
        return records[0]
    return records


def _mangle_total(holder: dict[str, object], faults: Faults, operation: str, job: str | None) -> None:
    for name in ("total", "total_record"):
        if name in holder and (struck := faults.fire("wrong-total", operation, job)):
            value = struck.options["value"]
            holder[name] = str(holder[name]) if value == "string" else value
