"""Faults of the simulated API for the stress runs: those of a whole run, and temporary ones.

Each of them may slow the exporter down; none may make it count wrongly.
"""

import random
from dataclasses import dataclass
from typing import Any, Final

FaultFields = dict[str, Any]
"""A fault, as the simulator's control endpoint reads it."""

DETAILS: Final = ("record-info", "record-info-v1")
LISTS: Final = ("job-list", "project-job-list")

BUILDS: Final[tuple[FaultFields, ...]] = (
    {"kind": "lost-records", "probability": 0.04, "detail": "unknown"},
    {"kind": "lost-records", "probability": 0.08, "detail": "known"},
    {"kind": "late-records", "probability": 0.2, "seconds": 0.8},
    {"kind": "unknown-result", "probability": 0.05},
    {"kind": "backwards-clock", "probability": 0.05},
    {"kind": "order", "by": "descending"},
)
"""Active during every whole run, because the responses about a build must be consistent."""

NO_HISTORY: Final[FaultFields] = {"kind": "withdrawn", "operation": "period-history"}
NO_DETAILS: Final[FaultFields] = {"kind": "withdrawn", "operation": "record-info", "status": 410}

WITHDRAWN: Final[tuple[tuple[FaultFields, ...], ...]] = (
    (),
    (NO_HISTORY,),
    (NO_DETAILS,),
    (NO_HISTORY, NO_DETAILS),
)
"""Endpoints that may be gone for a whole run; the newer ones have to suffice."""

RECORDS: Final[tuple[FaultFields, ...]] = (
    *({"kind": "disagreement", "field": field} for field in ("result", "queue", "duration")),
    {"kind": "disagreement", "field": "duration", "seconds": 0.001},
    {"kind": "whole-seconds"},
    {"kind": "zero-durations"},
    {"kind": "numbers-as-strings"},
    {"kind": "strings-as-numbers"},
    {"kind": "wrong-total", "value": -1},
    {"kind": "wrong-total", "value": "string"},
    {"kind": "build-record-ids"},
    *({"kind": "order", "by": order} for order in ("ascending", "random")),
    *({"kind": "running-builds", "show": show} for show in ("empty", "phase", "absent")),
    *({"kind": "time-style", "style": style} for style in ("compact", "naive")),
    *({"kind": "records-dates", "hours": 0.0, "by": by} for by in ("started", "finished", "nothing")),
    {"kind": "localised-triggers", "language": "zh"},
    {"kind": "withdrawn"},
)
"""Quirks of ``records`` alone. A disagreement concerns every build: only then a comparison must reveal it."""

LIES: Final[tuple[FaultFields, ...]] = (
    {"kind": "wrong-last-build", "number": -1, "seconds": -5.0, "finished": True},
    {"kind": "wrong-last-build", "number": -3, "probability": 0.5},
    {"kind": "wrong-last-build", "seconds": -3600.0, "finished": True, "probability": 0.7},
    {"kind": "wrong-last-build", "number": 2, "finished": True, "probability": 0.5},
    {"kind": "missing-fields", "fields": ["build_number"]},
    {"kind": "null-fields", "fields": ["is_finished", "last_build_time"]},
)
"""Job lists that hide builds, or show some that do not exist."""

PHANTOMS: Final[tuple[FaultFields, ...]] = (
    {"kind": "wrong-last-build", "number": 1, "finished": False},
    {"kind": "wrong-last-build", "number": 3, "finished": False, "probability": 0.5},
    {"kind": "wrong-last-build", "number": -1, "finished": False, "probability": 0.5},
    {"kind": "wrong-last-build", "seconds": 60.0, "finished": False, "probability": 0.3},
)
"""Job lists that show unfinished builds that do not exist; such builds are published as active."""

TEMPORARY: Final[tuple[tuple[FaultFields, ...], ...]] = (
    ({"kind": "error"},),
    ({"kind": "error", "status": 200, "shape": "fail"},),
    ({"kind": "html"}, {"kind": "truncated", "probability": 0.5}),
    ({"kind": "reset"},),
    ({"kind": "hang", "seconds": 0.7},),
    ({"kind": "throttle", "retry_after": 1, "probability": 0.3},),
    ({"kind": "truncated", "probability": 0.3}, {"kind": "error", "probability": 0.3}),
    ({"kind": "error", "operation": DETAILS, "probability": 0.4},),
    ({"kind": "shifting-pages"}, {"kind": "wrong-total"}, {"kind": "garbage-records"}),
    (NO_HISTORY,),
    (NO_DETAILS,),
    ({"kind": "withdrawn", "operation": ["period-history", "record-info"], "code": None},),
    ({"kind": "withdrawn", "operation": "records"},),
    ({"kind": "withdrawn"},),
    ({"kind": "error", "operation": LISTS, "probability": 0.5},),
    ({"kind": "empty-list", "operation": LISTS},),
    ({"kind": "empty-list", "operation": LISTS, "probability": 0.3}, {"kind": "list-shape"}),
    ({"kind": "no-records", "operation": LISTS}, {"kind": "wrong-total", "operation": LISTS, "value": 9}),
    *((phantom,) for phantom in PHANTOMS),
    *((lie,) for lie in LIES),
)
"""Faults for a moment; more than half of them are about withdrawn endpoints and job lists."""

ALL: Final = "projects: [{{id: all}}]"
WATCHED: Final = (
    "jobs: [{jobs}]",
    "projects: [{{id: {project}, name: p}}]",
    ALL,
    "jobs: [{job}]\nprojects: [{{id: {project}}}]",
)
"""Ways to watch the same jobs: by id, by project, or all that the user sees."""

REFUSED: Final[FaultFields] = {"kind": "error", "operation": "job-list", "status": 403, "code": "CB.00031007"}
"""Only the lists of projects are left; these have no build numbers."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Choices for a whole run.

    Attributes:
        watched: the part of the configuration that selects the jobs, as a format string.
        max_interval: longest time between two polls of a job, which the job lists delay until then.
        faults: active throughout.
    """

    watched: str
    max_interval: str
    faults: tuple[FaultFields, ...]

    @classmethod
    def choose(cls, rng: random.Random) -> "Scenario":
        """Choose at random; a quarter of the runs has no additional faults of each sort."""
        withdrawn = rng.choice(WITHDRAWN)
        quirks = [
            {**fault, "operation": "records"} for fault in rng.sample(RECORDS, rng.choice((0, 1, 2, 3)))
        ]
        if NO_HISTORY in withdrawn:
            quirks = [quirk for quirk in quirks if quirk["kind"] != "withdrawn"]
        lies = [{**fault, "operation": LISTS} for fault in rng.sample(LIES, rng.choice((0, 1, 1, 2)))]
        watched = rng.choice(WATCHED)
        refused = (REFUSED,) if watched != ALL and rng.random() < 0.4 else ()
        return cls(
            watched=watched,
            max_interval=rng.choice(("300ms", "1s", "3s")),
            faults=(*refused, *withdrawn, *quirks, *lies, *BUILDS),
        )
