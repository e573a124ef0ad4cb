"""What a round of tasks makes of the ledgers; pure.

A poll begins with a ledger and brings the next. A step that asks for stages brings answers, which are folded
into the ledger of the moment. Both may be under way for one job, and neither undoes the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from exporter.ledger import Breakdown, JobLedger, see_stages
from exporter.poller.poll import Polled
from exporter.poller.stages import Told
from exporter.poller.work import Outcome


def joined(outcome: Outcome, committed: JobLedger | None) -> Outcome:
    """A poll together with the stages that were committed since it began; anything else as it is.

    A poll brings nothing where the ledger is another one by now, as that of another process on the same job.
    """
    polled, before = outcome.brought, outcome.before
    if not isinstance(polled, Polled) or committed is before:
        return outcome
    if before is None or committed is None:
        return replace(outcome, brought=None)
    if replace(committed, names=before.names, stages=before.stages, gone=before.gone) != before:
        return replace(outcome, brought=None)
    if committed.stages is before.stages:
        return outcome
    stages = committed.stages
    for number, one in polled.ledger.stages.awaited.items():
        if number not in before.stages.awaited:
            stages = stages.awaiting(number, one)
    return replace(outcome, brought=replace(polled, ledger=replace(polled.ledger, stages=stages)))


def changed_by(
    outcomes: Iterable[Outcome], ledgers: Mapping[str, JobLedger], breakdown: Breakdown
) -> dict[str, JobLedger]:
    """The ledgers of jobs that polls or stages change.

    Args:
        outcomes: of jobs that are watched; polls `joined`, and at most one of each job.
        ledgers: as they are without these outcomes.
        breakdown: from the configuration.
    """
    done = list(outcomes)
    polls = {one.job_id: one.brought.ledger for one in done if isinstance(one.brought, Polled)}
    changed = dict(polls)
    for one in done:
        ledger = polls.get(one.job_id) or ledgers.get(one.job_id)
        if isinstance(one.brought, Told) and ledger:
            told = see_stages(ledger, one.brought.answers, breakdown=breakdown)
            if told is not ledger:
                changed[one.job_id] = told
    return changed
