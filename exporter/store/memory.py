"""The store that keeps nothing."""

from collections.abc import Collection, Mapping

from exporter.ledger.job_ledger import JobLedger


class MemoryStore:
    """``:memory:``: nothing outlives the process, so every start is a baseline."""

    def __init__(self) -> None:
        self._first_watched: dict[str, int] = {}

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """Return the ledgers that the caller holds."""
        return dict(held or {})

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Accept the ledgers, which the caller keeps."""
        for job_id in changed:
            self._first_watched.pop(job_id, None)
        return {}

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Return 0, as nothing can be lost."""
        return 0

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """Record when jobs were first watched, in memory."""
        return {job_id: self._first_watched.setdefault(job_id, at_ms) for job_id in job_ids}

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Delete recorded times; there are no ledgers to delete."""
        times = self._first_watched.items()
        self._first_watched = {job_id: ms for job_id, ms in times if job_id in watched or ms >= before_ms}
        return 0

    def close(self) -> None:
        """Do nothing."""
