"""The whole story of a fleet in less than a minute, watched by a real Prometheus with the example rules.

Two exporters ask one simulator. The first watches a job for each way that builds can go, and lives through
all that the API and its own disk do to it; the second may show so few series that it has to cap them. Each
chapter ends when Prometheus has seen what it tells.
"""

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from tests.e2e.torture import Service, service
from tests.support.programs import Prometheus, answers, eventually, free_port, program, running

EXAMPLES: Final = Path(__file__).parents[2] / "prometheus"
WEEK_S: Final = 7 * 86_400
HOUR_MS: Final = 3_600_000
PATIENCE_S: Final = 60.0
"""Far more than is needed, since the machine may be busy; what is awaited comes within seconds."""
FILE_LIMIT: Final = 64 * 1024
"""Bytes; the exporter's log stays below them, the log of changes of its state does not."""

OTHER_RESULTS: Final = ("aborted", "timeout", "schedule_failure", "unknown")
JOBS: Final = ("steady", "repaired", "broken", "stuck", "waiting", "gone", *OTHER_RESULTS)
CROWDED: Final = "crowded"


class Watcher(Prometheus):
    """Prometheus with the example rules, evaluated and scraping each second.

    Attributes:
        began: Unix time at which it was started.
        log: what it wrote.
    """

    def __init__(self, url: str, log: Path) -> None:
        super().__init__(url)
        self.began = time.time()
        self.log = log

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer that came without error or warning."""
        told = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert told["status"] == "success", f"{parameters}: {told.get('error')}"
        assert not told.get("warnings"), f"{parameters}: {told['warnings']}"
        return told["data"]

    def sees(self, expression: str) -> bool:
        """Whether it yields something."""
        return bool(self.query(expression))

    def until(self, *expressions: str) -> None:
        """Wait until each of them yields something."""
        for expression in expressions:
            eventually(partial(self.sees, expression), PATIENCE_S, every=0.2)


@contextlib.contextmanager
def watcher(targets: Sequence[str], folder: Path) -> Iterator[Watcher]:
    """The example configuration, in a hurry, on a storage that remembers last week."""
    binary = program("prometheus")
    own = f"127.0.0.1:{free_port()}"
    config = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text(encoding="utf-8"))
    for name in config["rule_files"]:
        rules = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
        for group in rules["groups"]:
            group.pop("interval", None)
        (folder / name).write_text(yaml.safe_dump(rules, sort_keys=False), encoding="utf-8")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    for scraped in config["scrape_configs"]:
        of_exporters = scraped["job_name"] == "codearts-build"
        scraped["static_configs"] = [{"targets": list(targets) if of_exporters else [own]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    remember_last_week(folder)
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={own}",
        "--enable-feature=exemplar-storage",
    ]
    log = folder / "prometheus.log"
    with running(command, log):
        asked = Watcher(f"http://{own}", log)
        eventually(lambda: answers(f"{asked.url}/-/ready"), PATIENCE_S)
        yield asked


def remember_last_week(folder: Path) -> None:
    """Put the successful builds of one job into the storage, as if they had been scraped a week ago."""
    start = int(time.time()) - WEEK_S
    lines = []
    for bound, share in (("10.0", 1), ("60.0", 3), ("+Inf", 4)):
        labels = (
            'job="codearts-build",instance="last-week",project="shop",job_name="steady",'
            f'result="success",le="{bound}"'
        )
        lines += [
            f"codearts_build_duration_seconds_bucket{{{labels}}} {after * share} {start + after}"
            for after in range(0, 600, 2)
        ]
    samples = folder / "last-week.metrics"
    samples.write_text("\n".join((*lines, "# EOF", "")), encoding="utf-8")
    command = [
        program("promtool"),
        *("tsdb", "create-blocks-from", "openmetrics", str(samples), str(folder / "tsdb")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Fleet:
    """The simulated jobs by their names."""

    def __init__(self, simulator: Service) -> None:
        self.simulator = simulator
        self.ids = {
            name: simulator.post("jobs", {"name": name, "project": "tools" if name == CROWDED else "shop"})[
                "job_id"
            ]
            for name in (*JOBS, CROWDED)
        }

    def build(self, name: str, result: str = "success", **more: object) -> int:
        """One quick build, or one that ``more`` makes otherwise; its number."""
        body = {"result": result, "queue_s": 0.1, "duration_s": 0.1} | more
        number: int = self.simulator.post(f"jobs/{self.ids[name]}/builds", body)["number"]
        return number

    def faults(self, *faults: dict[str, object]) -> None:
        """These go wrong from now on, and nothing else."""
        self.simulator.post("faults", list(faults))

    def before(self) -> None:
        """What had happened before anybody watched: successes, and a build that has run for three hours."""
        past_ms = round(time.time() * 1000) - 4 * HOUR_MS
        for name in ("steady", "stuck", "repaired", "broken"):
            self.build(name, at_ms=past_ms)
        self.build("stuck", at_ms=past_ms + HOUR_MS, duration_s=None)

    def configuration(self, path: Path, names: Sequence[str], more: str = "") -> Path:
        """A configuration that watches some of the jobs, and asks often."""
        project = "tools" if CROWDED in names else "shop"
        jobs = "".join(f"  - {{id: {self.ids[name]}, name: {name}, project: {project}}}\n" for name in names)
        path.write_text(
            f"endpoint: {self.simulator.url}\nauth: {{token: example-token}}\njobs:\n{jobs}"
            "poll: {interval: 300ms, max_interval: 600ms, max_requests_per_minute: 100000, timeout: 5s}\n"
            f"recycle_bin: {{interval: 1s}}\nstate: {{path: {path.with_suffix('.db')}}}\n{more}"
        )
        return path


@contextlib.contextmanager
def exporting(config: Path) -> Iterator[tuple[str, int]]:
    """An exporter as a process of its own: its address and the number of its process."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "exporter", f"--config.file={config}", f"--web.listen-address={address}"]
    with running(command, config.with_suffix(".log")) as process:
        eventually(lambda: answers(f"http://{address}/-/ready"), PATIENCE_S)
        yield address, process.pid


@contextlib.contextmanager
def told(folder: Path) -> Iterator[Watcher]:
    """Tell the story; the value is the Prometheus that has seen it."""
    for name in ("prometheus", "promtool"):
        program(name)
    with contextlib.ExitStack() as stack:
        fleet = Fleet(stack.enter_context(service(folder)))
        fleet.before()
        crowd = (
            "metrics: {max_series: 1000, extra_labels: [trigger, branch], branches: ['.*'], "
            f"duration_buckets: {list(range(1, 500))}}}\n"
        )
        address, process = stack.enter_context(
            exporting(fleet.configuration(folder / "fleet.yaml", JOBS, "metrics: {stages: true}\n"))
        )
        other, _ = stack.enter_context(
            exporting(fleet.configuration(folder / "crowd.yaml", [CROWDED], crowd))
        )
        asked = stack.enter_context(watcher([address, other], folder))
        asked.until(f"count(codearts_build_consecutive_failures) == {len(JOBS) + 1}")
        builds(fleet, asked)
        trouble_with_the_api(fleet, asked)
        builds_that_go_missing(fleet, asked)
        a_job_is_deleted(fleet, asked)
        a_full_disk(process, asked)
        asked.until("min(prometheus_rule_group_iterations_total) >= 2")
        yield asked


def builds(fleet: Fleet, asked: Watcher) -> None:
    """Every result, streaks that end and that do not, builds that wait and run, and too many labels."""
    fleet.build("waiting", queue_s=0, duration_s=None)
    fleet.build("waiting", queue_s=3600)
    for count in (1, 2, 3):
        for result in OTHER_RESULTS:
            fleet.build(result, result)
        fleet.build("broken", "failure")
        fleet.build("repaired", "success" if count == 3 else "failure")
        for name in ("steady", "stuck", "gone", CROWDED):
            fleet.build(name)
        ended = f'codearts_build_last_build_number{{job_name=~"{"|".join(OTHER_RESULTS)}"}} == {count}'
        asked.until(
            f'codearts_build_consecutive_failures{{job_name="broken"}} == {count}',
            f"count({ended}) == {len(OTHER_RESULTS)}",
            f'max(codearts_build_stage_duration_seconds_count{{job_name="steady"}}) >= {count}',
        )
    asked.until(
        'codearts_build_active_builds{job_name="waiting", state="running"} == 1',
        'codearts_build_active_builds{job_name="waiting", state="queued"} == 1',
        'increase(codearts_build_recovery_duration_seconds_count{job_name="repaired"}[1m]) > 0',
        "increase(codearts_build_exporter_capped_builds_total[1m]) > 0",
        'sum(increase(codearts_build_stage_duration_seconds_count{job_name="steady"}[1m])) > 0',
        *(
            f'sum(increase(codearts_build_builds_total{{job_name="{result}", result="{result}"}}[1m])) > 0'
            for result in OTHER_RESULTS
        ),
    )


def trouble_with_the_api(fleet: Fleet, asked: Watcher) -> None:
    """It throttles, answers what cannot be read, and goes away; a build that ends meanwhile is recovered.

    The outage is longer than any request is retried, so that the poll that finds the build began after a gap.
    """
    fleet.faults({"kind": "throttle", "retry_after": 1, "announce": False, "times": 4})
    asked.until("sum(increase(codearts_build_exporter_api_throttled_total[1m])) > 0")
    fleet.faults({"kind": "body", "text": "{", "probability": 0.3})
    asked.until(
        'sum(increase(codearts_build_exporter_payload_errors_total{reason="invalid_answer"}[1m])) > 0'
    )
    fleet.faults({"kind": "error"})
    fleet.build("steady")
    asked.until(
        'codearts_build_job_up{job_name="steady"} == 0',
        'time() - codearts_build_job_last_poll_timestamp_seconds{job_name="steady"} > 6',
    )
    fleet.faults()
    asked.until(
        "sum(increase(codearts_build_recovered_builds_total[1m])) > 0",
        "min(codearts_build_up) == 1",
    )


def builds_that_go_missing(fleet: Fleet, asked: Watcher) -> None:
    """A build leaves no record anywhere, which the next one shows."""
    missing = fleet.build("steady") + 1
    fleet.faults({"kind": "lost-records", "job": fleet.ids["steady"], "numbers": [missing]})
    assert fleet.build("steady") == missing
    fleet.build("steady")
    asked.until('increase(codearts_build_lost_builds_total{job_name="steady"}[1m]) > 0')


def a_job_is_deleted(fleet: Fleet, asked: Watcher) -> None:
    """A watched job lies in the recycle bin."""
    fleet.simulator.post(f"jobs/{fleet.ids['gone']}/delete", {})
    asked.until(
        'codearts_build_job_deleted{job_name="gone"} == 1',
        'codearts_build_recycle_bin_project_jobs{project="shop"} == 1',
    )


def a_full_disk(process: int, asked: Watcher) -> None:
    """The kernel does not let the exporter's files grow for a while, as if the disk were full."""
    limits = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (FILE_LIMIT, limits[1]))
    try:
        asked.until('increase(codearts_build_exporter_store_errors_total{operation="commit"}[1m]) >= 3')
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, limits)
    asked.until(f'codearts_build_job_last_poll_timestamp_seconds{{job_name="steady"}} > {time.time()}')
