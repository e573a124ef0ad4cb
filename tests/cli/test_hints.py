"""POST /-/poll to a running exporter: the named job is polled at once, also around a reload."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from exporter.simulator import Simulator
from tests.cli.conftest import started
from tests.cli.test_reload import Serving
from tests.cli.test_running import LOCAL, ready
from tests.support.programs import eventually


@pytest.fixture
def calm(config: Path, tmp_path: Path) -> Iterator[Serving]:
    """Nothing is polled for an hour after it was polled."""
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("interval: 500ms, max_interval: 1s", "interval: 1h"), encoding="utf-8")
    flags = (f"--config.file={config}", LOCAL, "--web.enable-lifecycle")
    with started(*flags, log=tmp_path / "log") as process:
        serving = Serving(process, ready(process), config)
        eventually(lambda: requests.get(f"{serving.url}/-/ready", timeout=5).status_code == 200, 30)
        yield serving


def hint(serving: Serving, *job_ids: str) -> str:
    answer = requests.post(f"{serving.url}/-/poll", json={"ids": job_ids}, timeout=10)
    assert answer.status_code == 202
    return answer.text


def test_a_build_is_counted_right_after_a_hint(simulator: Simulator, calm: Serving) -> None:
    job = simulator.fleet.jobs()[0]
    for number in (1, 2):
        simulator.fleet.add_build(job.id, queue_s=0, duration_s=1)
        assert hint(calm, job.id, "f" * 32) == "1 job will be polled\n"
        eventually(lambda: calm.value("builds_total") == number, 30)  # noqa: B023
    assert calm.value("recovered_builds_total") == 0


def test_unknown_ids_cost_nothing(simulator: Simulator, calm: Serving) -> None:
    asked = len(simulator.requests)
    assert hint(calm, "f" * 32) == (
        "0 jobs will be polled: neither query nor body contains the ID of a watched job\n"
    )
    assert len(simulator.requests) == asked


def test_a_hint_outlives_a_reload(simulator: Simulator, calm: Serving) -> None:
    job = simulator.fleet.jobs()[1]
    for number in range(1, 5):
        simulator.fleet.add_build(job.id, queue_s=0, duration_s=1)
        hint(calm, job.id)
        calm.change("jobs:", f"# {number}\njobs:")
        assert calm.reload().status_code == 200
        eventually(lambda: calm.value("builds_total") == number, 30)  # noqa: B023
