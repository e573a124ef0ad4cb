"""A scenario that makes every metric and panel show data, with a real Prometheus and the example rules.

One Prometheus observes it for each form that it may have: classic histograms, native ones, lean detail.

Two exporters poll one simulator, and two more in lean detail. The first watches a job for each possible
course of builds, with failures of the API and a full disk. The second has a series limit so low that builds
are capped. Each step ends when every Prometheus has the expected samples.
"""

import contextlib
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.processes import Service, Victim, service
from tests.support.programs import Prometheus, answers, eventually, free_port, program, running

EXAMPLES: Final = Path(__file__).parents[2] / "prometheus"
WEEK_S: Final = 7 * 86_400
HOUR_MS: Final = 3_600_000
PATIENCE_S: Final = 180.0
"""Generous, because the machine may be busy."""
FILE_LIMIT: Final = 64 * 1024
"""Bytes. The exporter's log stays below this limit, SQLite's write-ahead log does not."""

OTHER_RESULTS: Final = ("aborted", "timeout", "schedule_failure", "unknown")
JOBS: Final = ("steady", "repaired", "broken", "stuck", "waiting", "gone", *OTHER_RESULTS)
CROWDED: Final = "crowded"
DETAIL_OF: Final = {"classic": "full", "native": "full", "lean": "lean"}
"""The detail of the exporters, by form."""
FORMS: Final = tuple(DETAIL_OF)


class PrometheusWithRules(Prometheus):
    """Prometheus with the example rules, with scrapes and evaluations every two seconds.

    Attributes:
        began: Unix time of its start.
        log: the file with its output.
    """

    def __init__(self, url: str, log: Path) -> None:
        super().__init__(url)
        self.began = time.time()
        self.log = log

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of a response, which must have no error or warning."""
        body = self._session.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert body["status"] == "success", f"{parameters}: {body.get('error')}"
        assert not body.get("warnings"), f"{parameters}: {body['warnings']}"
        return body["data"]

    def has_data(self, expression: str) -> bool:
        """Return whether a query has a result."""
        return bool(self.query(expression))

    def wait_for(self, *expressions: str) -> None:
        """Wait until each query has a result."""
        for expression in expressions:
            eventually(partial(self.has_data, expression), PATIENCE_S, every=0.4)


@contextlib.contextmanager
def prometheus_with_rules(
    targets: Sequence[str], folder: Path, *, native: bool = False
) -> Iterator[PrometheusWithRules]:
    """Start Prometheus with the example configuration, short intervals and samples of last week."""
    binary = program("prometheus")
    own = f"127.0.0.1:{free_port()}"
    config = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text(encoding="utf-8"))
    for name in config["rule_files"]:
        rules = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
        for group in rules["groups"]:
            group.pop("interval", None)
        (folder / name).write_text(yaml.safe_dump(rules, sort_keys=False), encoding="utf-8")
    config["global"] = {"scrape_interval": "2s", "evaluation_interval": "2s"}
    del config["alerting"]
    for scraped in config["scrape_configs"]:
        of_exporters = scraped["job_name"] == "codearts-build"
        scraped["static_configs"] = [{"targets": list(targets) if of_exporters else [own]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    write_last_week(folder)
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={own}",
        f"--enable-feature=exemplar-storage{',native-histograms' if native else ''}",
    ]
    log = folder / "prometheus.log"
    with running(command, log):
        prometheus = PrometheusWithRules(f"http://{own}", log)
        eventually(lambda: answers(f"{prometheus.url}/-/ready"), PATIENCE_S)
        yield prometheus


def write_last_week(folder: Path) -> None:
    """Write successful builds of one job to the storage, as if they had been scraped a week ago."""
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
    """The simulated jobs by name."""

    def __init__(self, simulator: Service) -> None:
        self.simulator = simulator
        self.ids = {
            name: simulator.post("jobs", {"name": name, "project": "tools" if name == CROWDED else "shop"})[
                "job_id"
            ]
            for name in (*JOBS, CROWDED)
        }

    def build(self, name: str, result: str = "success", **more: object) -> int:
        """Add a short build, changed by ``more``, and return its number."""
        body = {"result": result, "queue_s": 0.1, "duration_s": 0.1} | more
        number: int = self.simulator.post(f"jobs/{self.ids[name]}/builds", body)["number"]
        return number

    def faults(self, *faults: dict[str, object]) -> None:
        """Replace the active faults."""
        self.simulator.post("faults", list(faults))

    def add_earlier_builds(self) -> None:
        """Add builds from before the jobs are watched: successes, and one that has run for three hours."""
        past_ms = round(time.time() * 1000) - 4 * HOUR_MS
        for name in ("steady", "stuck", "repaired", "broken"):
            self.build(name, at_ms=past_ms)
        self.build("stuck", at_ms=past_ms + HOUR_MS, duration_s=None)

    def configuration(self, path: Path, names: Sequence[str], more: str = "") -> Path:
        """Write a configuration that watches some of the jobs, with short intervals."""
        project = "tools" if CROWDED in names else "shop"
        jobs = "".join(f"  - {{id: {self.ids[name]}, name: {name}, project: {project}}}\n" for name in names)
        path.write_text(
            f"endpoint: {self.simulator.url}\nauth: {{token: example-token}}\njobs:\n{jobs}"
            "poll: {interval: 600ms, max_interval: 600ms, max_requests_per_minute: 100000, timeout: 5s}\n"
            f"recycle_bin: {{interval: 1s}}\nstate: {{path: {path.with_suffix('.db')}}}\n{more}"
        )
        return path


@dataclass(frozen=True)
class Story:
    """The participants of the scenario.

    Attributes:
        fleet: the simulated jobs.
        exporters: those that watch `JOBS`, by detail.
        observers: each Prometheus, by form.
    """

    fleet: Fleet
    exporters: Mapping[str, Victim]
    observers: Mapping[str, PrometheusWithRules]

    def wait_for(self, *expressions: str) -> None:
        """Wait until each query has a result in every Prometheus."""
        for prometheus in self.observers.values():
            prometheus.wait_for(*expressions)


@contextlib.contextmanager
def scenario(folder: Path) -> Iterator[Mapping[str, PrometheusWithRules]]:
    """Run the whole scenario; the value is each Prometheus that observed it, by `FORMS`."""
    for name in ("prometheus", "promtool"):
        program(name)
    with contextlib.ExitStack() as stack:
        fleet = Fleet(stack.enter_context(service(folder)))
        fleet.add_earlier_builds()
        exporters = {detail: start_exporters(fleet, folder, detail, stack) for detail in ("full", "lean")}
        observers = {}
        for form, detail in DETAIL_OF.items():
            targets = [victim.url.removeprefix("http://") for victim in exporters[detail]]
            (folder / form).mkdir()
            observers[form] = stack.enter_context(
                prometheus_with_rules(targets, folder / form, native=form == "native")
            )
        story = Story(fleet, {detail: first for detail, (first, _) in exporters.items()}, observers)
        story.wait_for(f"count(codearts_build_consecutive_failures) == {len(JOBS) + 1}")
        builds(story)
        api_failures(story)
        lost_build_and_deleted_job(story)
        full_disk(story)
        story.wait_for("min(prometheus_rule_group_iterations_total) >= 2")
        yield observers


def start_exporters(fleet: Fleet, folder: Path, detail: str, stack: contextlib.ExitStack) -> list[Victim]:
    """Start the two exporters of one detail."""
    crowded = (
        "max_series: 1000, extra_labels: [trigger, branch], branches: ['.*'], "
        f"duration_buckets: {list(range(1, 500))}"
    )
    started = []
    for name, jobs, more in (("fleet", JOBS, "stages: true"), ("crowd", [CROWDED], crowded)):
        own = folder / f"{name}-{detail}"
        own.mkdir()
        metrics = f"metrics: {{detail: {detail}, {more}}}\n"
        victim = Victim(fleet.configuration(own / "config.yaml", jobs, metrics), own)
        started.append(stack.enter_context(contextlib.closing(victim)))
        victim.start()
    for victim in started:
        await_ready(victim)
    return started


def await_ready(victim: Victim) -> None:
    """Wait until an exporter has polled or restored its jobs."""
    eventually(lambda: answers(f"{victim.url}/-/ready"), PATIENCE_S)


def observed(histogram: str, more_than: int, over: str = "") -> str:
    """Return a query for more observations, in all or over a time, in each of the forms."""
    name = f"codearts_build_{histogram}"
    parts = (f'{name}{part}{{project="shop", instance!="last-week"}}{over}' for part in ("", "_count"))
    native, classic = (f"sum(increase({part}))" if over else f"sum({part})" for part in parts)
    return f"(histogram_count({native}) or {classic}) > {more_than}"


def builds(story: Story) -> None:
    """Add builds with every result, streaks, waiting and running builds, and too many labels."""
    fleet = story.fleet
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
        story.wait_for(
            f'codearts_build_consecutive_failures{{job_name="broken"}} == {count}',
            f"count({ended}) == {len(OTHER_RESULTS)}",
            observed("stage_duration_seconds", count - 1),
        )
    rare = f'codearts_build_builds_total{{job_name=~"{"|".join(OTHER_RESULTS)}", result!~"success|failure"}}'
    story.observers["lean"].wait_for(f"count({rare} == 0) == {len(OTHER_RESULTS)}")
    restart(story.exporters["lean"])  # which ends the 90 seconds for which rare results are shown as 0
    story.wait_for(
        'codearts_build_active_builds{job_name="waiting", state="running"} == 1',
        'codearts_build_active_builds{job_name="waiting", state="queued"} == 1',
        observed("recovery_duration_seconds", 0, "[2m]"),
        "increase(codearts_build_exporter_capped_builds_total[2m]) > 0",
        observed("stage_duration_seconds", 0, "[2m]"),
        *(
            f'sum(increase(codearts_build_builds_total{{job_name="{result}", result="{result}"}}[2m])) > 0'
            for result in OTHER_RESULTS
        ),
    )


def restart(victim: Victim) -> None:
    """Stop an exporter and start it again."""
    victim.signal(signal.SIGTERM)
    victim.start()
    await_ready(victim)


def api_failures(story: Story) -> None:
    """Let the API throttle, return invalid responses and fail; a build that ends meanwhile is recovered.

    The outage outlasts all retries of a request, so that the next successful poll begins after a gap.
    """
    fleet = story.fleet
    fleet.faults(
        {"kind": "throttle", "retry_after": 1, "announce": False, "probability": 0.3},
        {"kind": "body", "text": "{", "probability": 0.3},
    )
    story.wait_for(
        "sum(increase(codearts_build_exporter_api_throttled_total[2m])) > 0",
        'sum(increase(codearts_build_exporter_payload_errors_total{reason="invalid_answer"}[2m])) > 0',
    )
    fleet.faults({"kind": "error"})
    fleet.build("steady")
    story.wait_for(
        'codearts_build_job_up{job_name="steady"} == 0',
        'time() - codearts_build_job_last_poll_timestamp_seconds{job_name="steady"} > 6',
    )
    fleet.faults()
    story.wait_for(
        "sum(increase(codearts_build_recovered_builds_total[2m])) > 0",
        "min(codearts_build_up) == 1",
    )


def lost_build_and_deleted_job(story: Story) -> None:
    """Lose the records of a build, which the number of the next one reveals, and delete a watched job."""
    fleet = story.fleet
    missing = fleet.build("steady") + 1
    fleet.faults({"kind": "lost-records", "job": fleet.ids["steady"], "numbers": [missing]})
    assert fleet.build("steady") == missing
    fleet.build("steady")
    fleet.simulator.post(f"jobs/{fleet.ids['gone']}/delete", {})
    story.wait_for(
        'increase(codearts_build_lost_builds_total{job_name="steady"}[2m]) > 0',
        'codearts_build_job_deleted{job_name="gone"} == 1',
        'codearts_build_recycle_bin_project_jobs{project="shop"} == 1',
    )


def full_disk(story: Story) -> None:
    """Limit the size of the exporters' files for a while, as if the disk were full."""
    processes = [victim.pid for victim in story.exporters.values()]
    limits = resource.prlimit(processes[0], resource.RLIMIT_FSIZE)
    for process in processes:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (FILE_LIMIT, limits[1]))
    try:
        story.wait_for('increase(codearts_build_exporter_store_errors_total{operation="commit"}[2m]) >= 3')
    finally:
        for process in processes:
            resource.prlimit(process, resource.RLIMIT_FSIZE, limits)
    story.wait_for(f'codearts_build_job_last_poll_timestamp_seconds{{job_name="steady"}} > {time.time()}')
