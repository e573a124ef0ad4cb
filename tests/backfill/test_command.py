"""The command, as a process of its own: resumed, streamed, refused."""

import hashlib
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from exporter.exposition import Format
from exporter.simulator import Fleet, Plan, RealClock, Simulator, fault
from tests.backfill.conftest import by_moment, read, series_of
from tests.cli.conftest import PROGRAM, Ended, run
from tests.support import fork_server
from tests.support.client_model import samples
from tests.support.programs import answers, eventually, exporter, program

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
END = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
START, YESTERDAY = (f"{NOW - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (3, 1))
JOBS = 4
NO_RECORDS = fault("withdrawn", operation="records")


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    fleet = Fleet(RealClock(), seed=2, history_days=5)
    for ordinal in range(JOBS):
        plan = Plan(gap_s=4200, duration_s=60 + 200 * ordinal, failure_ratio=0.3)
        fleet.add_job(f"job-{ordinal}", plan=plan)
    return fleet


@pytest.fixture
def simulator(fleet: Fleet) -> Iterator[Simulator]:
    with Simulator(fleet).start() as running:
        yield running


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> Path:
    return write_config(simulator, tmp_path)


@pytest.fixture(scope="module")
def hourly(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run in steps of an hour; no test may change it."""
    folder = tmp_path_factory.mktemp("hourly")
    with Simulator(fleet).start() as simulator:
        config = write_config(simulator, folder)
        assert run(*command(config, f"--output={folder / 'out'}")).code == 0
    return folder / "out"


def write_config(simulator: Simulator, tmp_path: Path) -> Path:
    jobs = "".join(f"  - {job.id}\n" for job in simulator.fleet.jobs())
    path = tmp_path / "config.yaml"
    path.write_text(
        f"endpoint: {simulator.url}\nauth: {{token: {simulator.credentials.tokens[0]}}}\njobs:\n{jobs}"
        f"poll: {{max_requests_per_minute: 100000, interval: 1s}}\nstate: {{path: {tmp_path / 'state.db'}}}\n"
    )
    return path


def command(config: Path, *flags: str) -> list[str]:
    """A backfill in steps of an hour, if the flags have no other."""
    return ["backfill", f"--config.file={config}", f"--start={START}", f"--end={END}", "--step=1h", *flags]


def checksums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.om")}


def operations(simulator: Simulator) -> Counter[str]:
    return Counter(request.operation for request in simulator.requests)


def details_asked(simulator: Simulator) -> int:
    return operations(simulator)["record-info"]


def kill_when(reached: Callable[[], bool], *arguments: str) -> None:
    process = fork_server.Popen([*PROGRAM, *arguments], stderr=subprocess.DEVNULL)
    eventually(reached, 60, every=0.01)
    assert process.poll() is None, "it had ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_twice_and_resumed_it_writes_the_same_bytes(
    config: Path, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.faults.replace([NO_RECORDS])
    straight = run(*command(config, f"--output={tmp_path / 'straight'}"))
    assert straight.code == 0, straight.err
    details = details_asked(simulator)
    simulator.reset_counts()
    killed = command(config, f"--output={tmp_path / 'killed'}", "--max-requests-per-minute=1000")
    for share in (0.5, 0.9):
        kill_when(lambda share=share: details_asked(simulator) > share * details, *killed)  # type: ignore[misc]
    resumed = run(*command(config, f"--output={tmp_path / 'killed'}"))
    assert resumed.code == 0, resumed.err
    assert checksums(tmp_path / "killed") == checksums(tmp_path / "straight") != {}
    assert details_asked(simulator) - details < 0.5 * details, "a kill costs the answers of a second"


def test_killed_while_it_reads_records_it_writes_the_bytes_of_the_slow_way(
    config: Path, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.faults.replace([NO_RECORDS])
    slow = run(*command(config, f"--output={tmp_path / 'slow'}"))
    assert (slow.code, "records cannot be used" in slow.err) == (0, True), slow.err
    details = details_asked(simulator)
    simulator.faults.clear()
    simulator.reset_counts()
    killed = command(config, f"--output={tmp_path / 'killed'}", "--max-requests-per-minute=120")
    for pages in (2, 5):
        kill_when(lambda pages=pages: operations(simulator)["records"] >= pages, *killed)  # type: ignore[misc]
    resumed = run(*command(config, f"--output={tmp_path / 'killed'}"))
    assert resumed.code == 0, resumed.err
    assert checksums(tmp_path / "killed") == checksums(tmp_path / "slow") != {}
    assert sum(operations(simulator).values()) < details / 4


def test_killed_while_it_writes_it_leaves_whole_files_only(config: Path, tmp_path: Path) -> None:
    steps = (f"--start={YESTERDAY}", "--step=20s")
    flags = (*steps, f"--output={tmp_path / 'killed'}")
    kill_when(lambda: len(list((tmp_path / "killed").glob("*.om"))) > 2, *command(config, *flags))
    written = checksums(tmp_path / "killed")
    resumed = run(*command(config, *flags))
    assert resumed.code == 0, resumed.err
    assert written.items() <= checksums(tmp_path / "killed").items()
    straight = run(*command(config, *steps, f"--output={tmp_path / 'straight'}"))
    assert straight.code == 0, straight.err
    assert checksums(tmp_path / "killed") == checksums(tmp_path / "straight")
    assert {path.suffix for path in (tmp_path / "killed").iterdir()} == {".om", ".db", ".stamp"}


def test_a_repeated_command_sends_no_request_even_with_another_step(
    config: Path, simulator: Simulator, tmp_path: Path
) -> None:
    assert run(*command(config, f"--output={tmp_path / 'out'}")).code == 0
    before = checksums(tmp_path / "out")
    simulator.reset_counts()
    assert run(*command(config, f"--output={tmp_path / 'out'}")).code == 0
    assert checksums(tmp_path / "out") == before
    for step in ("20m", "30m"):
        assert run(*command(config, f"--output={tmp_path / 'out'}", f"--step={step}")).code == 0
        assert checksums(tmp_path / "out") != before
    assert list(simulator.requests) == []


def test_standard_output_equals_the_files(config: Path, hourly: Path, tmp_path: Path) -> None:
    streamed = run(*command(config, "--output=-"), folder=tmp_path)
    assert streamed.code == 0, streamed.err
    written = "".join(file.read_text() for file in hourly.glob("*.om"))
    headers, samples = divided(streamed.out)
    headers_of_files, samples_of_files = divided(written)
    assert samples == samples_of_files
    assert headers == sorted(set(headers_of_files))
    moments = list(by_moment(streamed.out))
    assert len(moments) == 73
    (tmp_path / "last.om").write_text(moments[-1])
    assert read([tmp_path / "last.om"])


def divided(text: str) -> tuple[list[str], list[str]]:
    """The lines of headers, with the end, and those of samples, each sorted."""
    lines = sorted(text.split("\n"))
    return [line for line in lines if line[:1] == "#"], [line for line in lines if line[:1] not in ("", "#")]


def test_families_and_metrics_do_not_interleave(hourly: Path) -> None:
    for file in hourly.glob("*.om"):
        points: list[tuple[str, int]] = []
        for line in file.read_text().splitlines():
            if line.startswith("#"):
                continue
            name, _, rest = line.partition("{")
            labels = ",".join(part for part in rest.split("}")[0].split(",") if not part.startswith("le="))
            for suffix in ("_bucket", "_count", "_sum"):
                name = name.removesuffix(suffix)
            points.append((name + labels, int(line.split()[-1])))
        metrics = list(dict.fromkeys(metric for metric, _ in points))
        assert points == sorted(points, key=lambda point: (metrics.index(point[0]), point[1]))


def test_promtool_accepts_the_files(hourly: Path, tmp_path: Path) -> None:
    for file in sorted(hourly.glob("*.om")):
        make = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(file)]
        subprocess.run([*make, str(tmp_path / "tsdb")], check=True, timeout=60, capture_output=True)
    blocks = [json.loads(meta.read_text()) for meta in (tmp_path / "tsdb").glob("*/meta.json")]
    assert sum(block["stats"]["numSamples"] for block in blocks) == sum(
        not line.startswith("#") for file in hourly.glob("*.om") for line in file.read_text().splitlines()
    )


def test_each_job_ends_where_a_running_exporter_began(
    config: Path, simulator: Simulator, tmp_path: Path
) -> None:
    with exporter(config, tmp_path / "log") as url:
        eventually(lambda: answers(f"{url}/-/ready"), 60)
        flags = ("--start=3d", "--step=6h", f"--exporter={url}/metrics", f"--output={tmp_path / 'out'}")
        done = run("backfill", f"--config.file={config}", *flags)
        assert done.code == 0, done.err
        accept = {"Accept": Format.PROTOBUF.content_type}
        body = requests.get(f"{url}/metrics", headers=accept, timeout=5).content
    exported = {(name, dict(labels).get("job_name")): value for name, labels, value, _ in samples(body)}
    shown = read(sorted((tmp_path / "out").glob("*.om")))
    for job in simulator.fleet.jobs():
        created = exported["codearts_build_builds_created", job.name]
        assert max(series_of(shown, "consecutive_failures", job_name=job.name)) == created // 1
        baseline = exported["codearts_build_baseline_build_number", job.name]
        assert list(series_of(shown, "last_build_number", job_name=job.name).values())[-1] == baseline


def test_an_invisible_job_affects_no_other_job(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("jobs:\n", f"jobs:\n  - {'f' * 32}\n"))
    done = run(*command(config, f"--output={tmp_path / 'out'}", "--step=12h"))
    assert done.code == 1
    assert f"history of job {'f' * 32} is missing" in done.err
    assert len({labels for _, labels in read(sorted((tmp_path / "out").glob("*.om")))}) > JOBS


def test_it_resumes_after_expired_credentials(config: Path, simulator: Simulator, tmp_path: Path) -> None:
    flags = command(config, f"--output={tmp_path / 'out'}")
    simulator.faults.replace([NO_RECORDS, fault("unauthorized", operation="record-info", probability=0.04)])
    done = run(*flags)
    assert (done.code, "401" in done.err) == (1, True), done.err
    assert done.err.endswith("; check-config --online says what to do\n")
    simulator.faults.replace([NO_RECORDS])
    simulator.reset_counts()
    assert run(*flags).code == 0
    assert sum(request.operation == "period-history" for request in simulator.requests) == 0


def test_an_outage_does_not_change_the_result(
    config: Path, hourly: Path, simulator: Simulator, tmp_path: Path
) -> None:
    flags = command(config, f"--output={tmp_path / 'out'}")
    simulator.faults.replace([NO_RECORDS, fault("unauthorized", operation="record-info", probability=0.04)])
    assert run(*flags).code == 1
    simulator.faults.replace([NO_RECORDS])
    assert run(*flags).code == 0
    assert checksums(tmp_path / "out") == checksums(hourly)


def test_nothing_is_written_if_all_details_are_refused(
    config: Path, simulator: Simulator, tmp_path: Path
) -> None:
    flags = command(config, f"--output={tmp_path / 'out'}")
    refusal = fault("error", operation="record-info", status=403, code="CB.00031059")
    simulator.faults.replace([NO_RECORDS, refusal])
    refused(run(*flags), 1, "a role that may view build tasks")
    assert not list((tmp_path / "out").glob("*.om"))
    assert run(*flags, "--no-details").code == 0
    refusal.times = 1
    done = run(*flags)
    assert done.code == 0, done.err
    again = f"remove {tmp_path / 'out' / 'backfill.db'} to request them again"
    assert f"1 build without details, counted without queue time; {again}" in done.err


def test_one_spool_serves_two_folders(config: Path, tmp_path: Path) -> None:
    spool = f"--spool={tmp_path / 'answers.db'}"
    for step, folder in (("1h", "a"), ("2h", "b"), ("2h", "a")):
        done = run(*command(config, spool, f"--output={tmp_path / folder}", f"--step={step}"))
        assert done.code == 0, done.err
    assert checksums(tmp_path / "a") == checksums(tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "others"), [("2020-01-01T00.om", ()), ("notes.om", ("backfill.stamp", "2020-01-01T00.om"))]
)
def test_files_of_another_program_are_not_overwritten(
    config: Path, simulator: Simulator, tmp_path: Path, name: str, others: tuple[str, ...]
) -> None:
    (tmp_path / "out").mkdir()
    for file in (name, *others):
        (tmp_path / "out" / file).write_text("mine")
    refused(run(*command(config, f"--output={tmp_path / 'out'}")), 1, f"of another program ({name})")
    assert (tmp_path / "out" / name).read_text() == "mine"
    assert not simulator.requests


def refused(done: Ended, code: int, text: str) -> None:
    assert (done.code, text in done.err) == (code, True), done.err
    assert "Traceback" not in done.err


def test_a_spool_of_another_request_is_refused(config: Path, hourly: Path) -> None:
    other = run("backfill", f"--config.file={config}", "--start=2d", f"--output={hourly}")
    refused(other, 1, "belongs to a backfill of other jobs or another period")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((), "either --output or --remote-write"),
        (("--output=out", "--remote-write=http://localhost"), "either --output or --remote-write"),
        (("--output=out", "--step=5"), "must be a duration"),
        (("--output=out", "--step=500ms"), "whole seconds"),
        (("--output=out", "--start=yesterday"), "--start"),
        (("--output=out", "--start=1h", "--end=2h"), "--start must be before the end"),
        (("--output=out", "--label=job"), "a name and a value"),
        (("--output=out", "--label=job=x", "--label=job=y"), "the same name twice"),
        (("--output=out", "--label=foo="), "--label: foo has no value"),
        (("--output=out", "--label=result=x"), "already have a label result"),
        (("--output=out", "--label=9=x"), "9 is not a valid label name"),
        (("--output=out", "--start=0001-01-01"), "must be between the years"),
    ],
)
def test_invalid_options_are_refused(config: Path, tmp_path: Path, flags: tuple[str, ...], text: str) -> None:
    refused(run("backfill", f"--config.file={config}", *flags, folder=tmp_path), 2, text)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--remote-write=localhost:9090/write",), "remote write: the address must begin with http:// or"),
        (("--remote-write=http://x", "--remote-write-header=a: 团队"), "remote write: "),
        (("--output=out", "--exporter=localhost:10089"), "=localhost:10089: must begin with http:// or"),
        (("--output=out", "--start=foo"), "--start=foo: must be a duration such as"),
        (("--output=out", "--start=1h", "--end=2h"), "--start must be before the end"),
        (("--output=out", f"--start={END}", f"--end={START}"), "--start must be before the end"),
    ],
)
def test_an_invalid_address_or_time_is_reported_before_any_request(
    config: Path, simulator: Simulator, tmp_path: Path, flags: tuple[str, ...], text: str
) -> None:
    refused(run(*command(config, *flags), folder=tmp_path), 2, text)
    assert not simulator.requests
    assert list(tmp_path.iterdir()) == [config]


def test_a_foreign_spool_file_is_not_changed(config: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine" * 1000)
    done = run(*command(config, f"--output={tmp_path / 'out'}", f"--spool={tmp_path / 'notes.txt'}"))
    refused(done, 1, "notes.txt: not a backfill spool; choose another --spool")
    assert (tmp_path / "notes.txt").read_text() == "mine" * 1000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_created_is_reported(config: Path) -> None:
    refused(run(*command(config, "--output=/proc/out")), 1, "/proc/out")
