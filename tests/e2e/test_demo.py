"""The demo: metrics that move, within a minute, on a machine without an account."""

import re
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import started
from tests.support.programs import eventually


def counted(url: str) -> float:
    families = text_string_to_metric_families(requests.get(url, timeout=5).text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "codearts_build_builds_total"
    )


def test_its_numbers_move_and_agree_with_the_truth(tmp_path: Path) -> None:
    with started("demo", "--web.listen-address=127.0.0.1:0", log=tmp_path / "log") as demo:
        url = demo.says("Metrics:").split()[1]
        truth = demo.says("Truth:").split()[1]
        assert re.search(r"; 24 jobs are watched", demo.says("A simulated CodeArts Build runs at"))
        eventually(lambda: requests.get(url.replace("/metrics", "/-/ready"), timeout=5).ok, 60)
        before = counted(url)
        eventually(lambda: counted(url) >= before + 3, 60, every=0.5)
        text = requests.get(url, timeout=5).text
        jobs = requests.get(truth, timeout=5).json()["jobs"].values()
        watched = [job["job_name"] for job in jobs if job["deleted_ms"] is None]
        assert set(re.findall(r'codearts_build_job_up\{job_name="([^"]+)"[^}]*\} 1\.0', text)) == set(watched)
        assert "codearts_build_recycle_bin_jobs 3.0" in text
        assert demo.end() == 0
