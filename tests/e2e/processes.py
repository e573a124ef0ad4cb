"""Exporter and simulator as processes of a test: configure, start, disturb and ask them."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from tests.support import fork_server
from tests.support.programs import answers, eventually, free_port, running

RESULTS = ("success", "success", "success", "failure", "failure", "aborted", "timeout", "schedule_failure")


class Victim:
    """The exporter as a process that is restarted repeatedly."""

    def __init__(self, config: Path, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "exporter.log"
        self._command = [
            *(sys.executable, "-m", "exporter"),
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-lifecycle",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of the process, which has been started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process if it is not running."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = fork_server.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; after SIGKILL or SIGTERM, wait for the exit."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            code = self._process.wait(30)
            assert code == (0 if number is signal.SIGTERM else -9) or code == -15, code

    def hint(self, job_ids: Sequence[str]) -> bool:
        """Ask for polls of jobs, in one of two formats; return whether the exporter accepted that."""
        url = f"{self.url}/-/poll"
        with contextlib.suppress(requests.RequestException):
            if len(job_ids) == 1:
                return requests.post(url, params={"job_id": job_ids[0]}, timeout=0.3).status_code == 202
            return requests.post(url, json={"event": {"tasks": job_ids}}, timeout=0.3).status_code == 202
        return False

    def close(self) -> None:
        """Kill the process if it is running."""
        if self._process and self._process.poll() is None:
            self.signal(signal.SIGKILL)


class Service:
    """A client of the control endpoints of a simulator process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.baseline: dict[str, int] = {}
        self._session = requests.Session()
        self._session.trust_env = False  # else each request looks for files
        self._build_projects: dict[str, str] = {}

    def post(self, path: str, body: object) -> Any:
        """Send a command."""
        answer = self._session.post(f"{self.url}/_sim/{path}", json=body, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def get(self, path: str, **query: str | int) -> requests.Response:
        """Send a request to the API."""
        headers = {"X-Auth-Token": "example-token"}
        return self._session.get(f"{self.url}{path}", params=query, headers=headers, timeout=60)

    def list_jobs(self) -> list[dict[str, Any]]:
        """Return the list of all jobs."""
        jobs = self.get("/v1/job/list", page_index=0, page_size=100).json()["result"]["job_list"]
        self._build_projects = {job["id"]: job["build_project_id"] for job in jobs}
        return list(jobs)

    def recorded_numbers(self, job_id: str) -> set[int]:
        """Return the build numbers that history has for the last days, or records where it is withdrawn."""
        today = datetime.now(UTC).date()
        start, end = (str(today + timedelta(days=days)) for days in (-1, 1))
        path = f"/v3/jobs/{job_id}/period-history"
        history = self.get(path, offset=0, limit=100, start_time=start, end_time=end)
        if history.ok:
            return {record["build_number"] for record in history.json()["history_records"]}
        path = f"/v1/record/{self._build_projects[job_id]}/records"
        pages = (self.get(path, page=page, limit=100).json()["result"]["data"] for page in range(10))
        return {int(record["build_no"]) for page in pages for record in page}

    def answered(self) -> dict[str, int]:
        """Return the number of requests answered with 200, by operation."""
        counts = self._session.get(f"{self.url}/_sim/counts", timeout=60).json()
        return {operation: by_status.get("200", 0) for operation, by_status in counts.items()}

    def truth(self) -> list[dict[str, Any]]:
        """Return the truth about all jobs, with sums over the builds above the baseline."""
        since = [("since", f"{job_id}:{number}") for job_id, number in self.baseline.items()]
        answer = self._session.get(f"{self.url}/_sim/truth", params=since, timeout=60)
        return list(answer.json()["jobs"].values())

    def is_quiet(self) -> bool:
        """Return whether every build has ended, so that the truth no longer changes."""
        return not any(sum(job["totals"]["active"].values()) for job in self.truth())


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Service]:
    """Run a simulator during a block."""
    port = free_port()
    command = [sys.executable, "-m", "exporter", "simulate", f"--port={port}", "--jobs=0"]
    with running(command, folder / "simulator.log"):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/_sim/counts"), 180)
        yield Service(url)


def configure(
    simulator: Service,
    job_ids: Sequence[str],
    folder: Path,
    state: str,
    watched: str = "jobs: [{jobs}]",
    max_interval: str = "500ms",
) -> Path:
    """Write a configuration that watches the jobs with short intervals."""
    path = folder / "config.yaml"
    jobs = [f"{{id: {job_id}, name: job-{index}, project: p}}" for index, job_id in enumerate(job_ids)]
    project_id = simulator.list_jobs()[0]["project_id"]
    path.write_text(
        f"endpoint: {simulator.url}\nauth: {{token: example-token}}\n"
        f"{watched.format(jobs=', '.join(jobs), job=jobs[0], project=project_id)}\n"
        f"poll: {{interval: 200ms, max_interval: {max_interval}, "
        "max_requests_per_minute: 100000, timeout: 1s}\n"
        f"recycle_bin: {{enabled: false}}\nstate: {{{state}}}\n"
    )
    return path


def live(
    simulator: Service,
    jobs: Sequence[str],
    rng: random.Random,
    seconds: float,
    hint: Callable[[Sequence[str]], object] = bool,
) -> None:
    """Add random builds for some time, and now and then send a hint."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for _ in range(rng.choice((1, 1, 1, 4))):
            build = {
                "result": rng.choice(RESULTS),
                "queue_s": rng.uniform(0, 0.3),
                "duration_s": rng.choice((0.05, 0.3, 0.3, 2.0)) * rng.uniform(0.5, 1.5),
            }
            simulator.post(f"jobs/{rng.choice(jobs)}/builds", build)
        if rng.random() < 0.3:
            hint(rng.sample(jobs, rng.choice((1, 1, 3))))
        time.sleep(rng.uniform(0.02, 0.2))
