"""What the values of labels mean, where no code says it."""

from collections.abc import Mapping
from typing import Final

from exporter.model import Result, State, Trigger

RESULTS: Final[Mapping[Result, str]] = {
    Result.SUCCESS: "It succeeded.",
    Result.FAILURE: "It failed.",
    Result.ABORTED: "Somebody stopped it.",
    Result.TIMEOUT: "It took longer than allowed.",
    Result.SCHEDULE_FAILURE: "It was never given a machine.",
    Result.UNKNOWN: "The service used a word that is not known.",
}

STATES: Final[Mapping[State, str]] = {
    State.QUEUED: "It waits for a machine.",
    State.RUNNING: "It has started.",
}

TRIGGERS: Final[Mapping[Trigger, str]] = {
    Trigger.MANUAL: "Somebody started it.",
    Trigger.SCHEDULE: "It was due by the clock.",
    Trigger.CODE_CHANGE: "Code was pushed.",
    Trigger.PIPELINE: "A pipeline started it.",
    Trigger.UNKNOWN: "The service did not tell, or used a word that is not known; or the build was counted "
    "before the label was asked for.",
}

REASONS: Final[Mapping[tuple[str, ...], str]] = {
    ("invalid_answer",): "An answer was not JSON, or broken JSON.",
    ("not_an_object", "no_result", "not_a_list"): "An answer was JSON, but had none of the known shapes.",
    (
        "too_many_records",
    ): "A page held more than twice the records that were asked for; none of them counts.",
    ("record_not_an_object",): "A record was no record. The rest of its page counts.",
    ("bad_time", "bad_duration", "bad_build_number", "bad_job_id", "bad_project"): (
        "A field of a record could not be read. Without its number, id or name a record is left out."
    ),
    ("unknown_result", "unknown_trigger"): "The service used a word that is not known.",
    ("foreign_record",): "A record belongs to another job or build than the one that was asked for.",
    ("negative_duration", "negative_queue_duration", "negative_recovery_duration"): (
        "Times contradict each other. The build is counted, the length is not observed."
    ),
    ("absurd_finish",): (
        "A finish more than a day after the poll that told of it. The build is counted, its finish is not "
        "known."
    ),
    ("absurd_duration", "absurd_queue_duration"): (
        "A length of more than 31 days. The build is counted, the length is not observed."
    ),
    ("implausible_build_number",): "A number so far above all known ones that it is taken for garbage.",
    ("reused_build_number",): (
        "A build began under the number of one that had been counted, after all known ones had finished. "
        "When three polls and record-info agree, numbers have started again."
    ),
    ("skipped_build_numbers",): (
        "Numbers far ahead were confirmed by three polls and record-info, or a thousand missing ones in "
        "a row were denied. Those between, or below them, are taken as never used and are not lost."
    ),
    ("too_many_open_builds",): (
        "More unfinished builds of a job than are believed: 1,000, and 100 of which only a number is known."
    ),
    ("too_many_pages",): "A listing of more than 1,000 pages; what is on the others is not read.",
}
"""The values of the label ``reason``, those that mean the same together."""
