"""Descriptions of label values."""

from collections.abc import Mapping
from typing import Final

from exporter.model import Result, State, Trigger

RESULTS: Final[Mapping[Result, str]] = {
    Result.SUCCESS: "It succeeded.",
    Result.FAILURE: "It failed.",
    Result.ABORTED: "A person stopped it.",
    Result.TIMEOUT: "It took longer than allowed.",
    Result.SCHEDULE_FAILURE: "It was never assigned a machine.",
    Result.UNKNOWN: "The API returned an unknown value.",
}

STATES: Final[Mapping[State, str]] = {
    State.QUEUED: "It waits for a machine.",
    State.RUNNING: "It has started.",
}

TRIGGERS: Final[Mapping[Trigger, str]] = {
    Trigger.MANUAL: "A person started it.",
    Trigger.SCHEDULE: "A schedule started it.",
    Trigger.CODE_CHANGE: "A push of code started it.",
    Trigger.PIPELINE: "A pipeline started it.",
    Trigger.UNKNOWN: "The API returned no or an unknown value, or the build was counted before the label was "
    "enabled.",
}

REASONS: Final[Mapping[tuple[str, ...], str]] = {
    ("invalid_answer",): "A response was not valid JSON.",
    ("not_an_object", "no_result", "not_a_list"): "A response was JSON, but had none of the known forms.",
    ("too_many_records",): "A page had more than twice the requested records; none of them is used.",
    ("record_not_an_object",): "A record was not a JSON object. The rest of its page is used.",
    ("bad_time", "bad_duration", "bad_build_number", "bad_job_id", "bad_project"): (
        "A field of a record could not be read. A record without its number, id or name is left out."
    ),
    ("unknown_result", "unknown_trigger"): "The API returned an unknown value.",
    ("foreign_record",): "A record belongs to another job or build than the requested one.",
    ("negative_duration", "negative_queue_duration", "negative_recovery_duration"): (
        "Timestamps contradict each other. The build is counted, the duration is not observed."
    ),
    ("absurd_finish",): (
        "A finish time more than a day after the poll that returned it. The build is counted, its finish "
        "time is unknown."
    ),
    ("absurd_duration", "absurd_queue_duration"): (
        "A duration of more than 31 days. The build is counted, the duration is not observed."
    ),
    ("implausible_build_number",): "A number so far above all known ones that it is ignored.",
    ("reused_build_number",): (
        "A build started with the number of a counted one, after all known ones had finished. When three "
        "polls and record-info agree, the numbers have been restarted."
    ),
    ("skipped_build_numbers",): (
        "Numbers far ahead were confirmed by three polls and record-info, or a thousand missing ones in "
        "a row were denied. The numbers in between count as never used, not as lost."
    ),
    ("too_many_open_builds",): (
        "More unfinished builds of a job than are plausible: 1,000, or 100 known only by number."
    ),
    ("disagrees_with_record_info",): (
        "`records` reported a finished build differently from `record-info`. Details come from `record-info` "
        "alone until the next start."
    ),
    ("too_many_pages",): "A listing had more than 1,000 pages; the rest is not read.",
}
"""The values of the label ``reason``, grouped by meaning."""
