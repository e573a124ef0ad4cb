"""What faults do to the records of a sound answer, and to the list that holds them."""

from collections.abc import Iterator
from typing import Final

from exporter.simulator.faults import Faults

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
