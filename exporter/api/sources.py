"""Knowledge of the endpoints: how far the answers of records can be used. Pure."""

from dataclasses import dataclass, field
from typing import Final

AGREEMENTS: Final = 3
"""Builds of which records and record-info must report the same before records are used for details."""

DISAGREES: Final = "disagrees_with_record_info"


@dataclass(slots=True)
class RecordsTrust:
    """Decides if details may be taken from records instead of record-info.

    Counts and sums must not depend on which of the two was asked, so a single difference ends the use.

    Attributes:
        agreed: builds of which both reported the same.
        ended: why records are not used for details any more; empty while they may be.
    """

    agreed: int = 0
    ended: str = ""

    @property
    def is_proven(self) -> bool:
        """Details may be taken from records."""
        return not self.ended and self.agreed >= AGREEMENTS

    @property
    def to_compare(self) -> int:
        """Builds of the next answer to compare with record-info; once proven, still one of each answer."""
        return max(1, AGREEMENTS - self.agreed)

    def compared(self, *, agreed: bool) -> None:
        """Record a comparison of one build."""
        self.agreed += agreed
        if not agreed:
            self.end(DISAGREES)

    def end(self, reason: str) -> None:
        """Stop the use; the first reason stays."""
        self.ended = self.ended or reason


@dataclass(slots=True)
class Sources:
    """Knowledge of the endpoints, from all answers so far.

    Attributes:
        records: whether details may be taken from records.
        build_projects: ids that stand for jobs in requests for records, by job id.
    """

    records: RecordsTrust = field(default_factory=RecordsTrust)
    build_projects: dict[str, str] = field(default_factory=dict)

    def learn(self, job_id: str, build_project_id: str) -> None:
        """Keep the id of a job in requests for records, if an answer has it."""
        if build_project_id:
            self.build_projects[job_id] = build_project_id
