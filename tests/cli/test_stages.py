"""What the configuration makes of stages: measured or not, and a change of mind."""

from pathlib import Path

from exporter.app import Exporter
from exporter.simulator import Simulator
from tests.cli.test_labels import build, exporter, poll, shown, simulator
from tests.support.programs import eventually

__all__ = ["simulator"]


def measured(one: Exporter) -> float:
    """Observations of all stages."""
    poll(one)
    return sum(shown(one, "stage_duration_seconds_count").values())


def test_stages_are_measured_where_they_are_wanted(simulator: Simulator, tmp_path: Path) -> None:
    with exporter(simulator, tmp_path, "{stages: true}") as one:
        build(simulator, one, "main")
        eventually(lambda: measured(one) > 0, 20, every=0.02)
        stages = {dict(labels)["stage"] for labels in shown(one, "last_build_stage_duration_seconds")}
        assert stages == {"final"}, "the only one that takes the one millisecond of the build"
    with exporter(simulator, tmp_path, "{stages: false}") as one:
        build(simulator, one, "main")
        assert measured(one) == 0
        assert shown(one, "builds_total") == {(("result", "success"),): 2}
    with exporter(simulator, tmp_path, "{stages: true, duration_buckets: [1, 2]}") as one:
        before = measured(one)
        assert before > 0
        build(simulator, one, "main")
        eventually(lambda: measured(one) == 2 * before, 20, every=0.02)
