"""Nothing that an exporter says or shows holds a secret: log at debug level, pages, metrics, command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from exporter.simulator import Fleet, RealClock, Simulator, fault
from exporter.simulator.access import AccessKey, Credentials
from tests.cli.conftest import run, started
from tests.cli.test_running import LOCAL, address
from tests.support.programs import eventually

PASSWORD, TOKEN, KEY, SECURITY = "p4ss-W0rd-x", "t0ken-7f3a9c", "s3cret-k3y-5d", "s3curity-t0ken-1b"
SECRETS = (PASSWORD, TOKEN, KEY, SECURITY)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    fleet = Fleet(RealClock(), seed=3)
    job = fleet.add_job(f"checkout {TOKEN} {PASSWORD} {KEY} {SECURITY}", "shop")
    fleet.add_build(job.id, duration_s=0.1)
    known = Credentials(
        password=PASSWORD,
        tokens=(TOKEN,),
        access_keys=(AccessKey("EXAMPLE-KEY", KEY), AccessKey("EXAMPLE-TEMPORARY", KEY, SECURITY)),
    )
    with Simulator(fleet, credentials=known) as running:
        yield running


AUTH = {
    "token": f"{{token: {TOKEN}}}",
    "password": "{password: {domain: example, username: exporter, project: cn-north-4, "
    f"password: {PASSWORD}}}}}",
    "access key": f"{{access_key: {{access_key: EXAMPLE-KEY, secret_key: {KEY}}}}}",
    "temporary key": "{access_key: {access_key: EXAMPLE-TEMPORARY, "
    f"secret_key: {KEY}, security_token: {SECURITY}}}}}",
}


def configuration(simulator: Simulator, auth: str, folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"endpoint: {simulator.url}\niam_endpoint: {simulator.url}\nauth: {auth}\n"
        f"jobs: [{simulator.fleet.jobs()[0].id}]\n"
        "poll: {interval: 200ms, max_interval: 400ms, timeout: 2s}\n"
        'state: {path: ":memory:"}\n'
    )
    return path


@pytest.mark.parametrize("kind", AUTH)
def test_no_secret_leaves_a_running_exporter(simulator: Simulator, tmp_path: Path, kind: str) -> None:
    """One exporter is a new process, whose command line has the flags; a forked one has the test's."""
    config = configuration(simulator, AUTH[kind], tmp_path)
    flags = (f"--config.file={config}", LOCAL, "--log.level=debug", "--web.enable-lifecycle")
    with started(*flags, log=tmp_path / "log", new=kind == "token") as serving:
        url = f"http://{address(serving)}"
        eventually(lambda: requests.get(f"{url}/-/ready", timeout=5).status_code == 200, 60)
        for trouble in (
            fault("error", status=401),
            fault("error", status=500),
            fault("reset"),
            fault("html"),
        ):
            simulator.faults.replace([trouble])
            asked = len(simulator.requests)
            eventually(lambda asked=asked: len(simulator.requests) > asked + 2, 60)  # type: ignore[misc]
        simulator.faults.replace([])
        config.write_text(config.read_text() + "nonsense: {}\n")
        shown = [requests.post(f"{url}/-/reload", timeout=20).text]
        shown += [requests.get(f"{url}{path}", timeout=5).text for path in ("/", "/metrics", "/nowhere")]
        shown += [Path(f"/proc/{serving._process.pid}/cmdline").read_text()]
        assert serving.end() == 0
        shown += [serving.output]
    found = [secret for secret in SECRETS for text in shown if secret in AUTH[kind] and secret in text]
    assert (found, "nonsense" in shown[0]) == ([], True)
    assert all("***" in text for text in shown[1:3])


@pytest.mark.parametrize("kind", AUTH)
def test_no_secret_leaves_check_config(simulator: Simulator, tmp_path: Path, kind: str) -> None:
    config = configuration(simulator, AUTH[kind].replace("example,", "another,"), tmp_path)
    simulator.faults.replace([fault("error", status=401)])
    for arguments in ((), ("--online",)):
        ended = run("check-config", f"--config.file={config}", *arguments)
        assert not any(secret in ended.out + ended.err for secret in SECRETS)
