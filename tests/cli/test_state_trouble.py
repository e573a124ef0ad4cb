"""Where the state lies, and what a whole exporter makes of trouble with it."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.app import Exporter
from exporter.config import load
from exporter.simulator import Simulator
from exporter.store.redis import KEY
from tests.cli.conftest import PROGRAM, started
from tests.cli.test_running import LOCAL, ready
from tests.store.redis_server import RedisServer, redis_server
from tests.support.programs import eventually
from tests.support.syscalls import no_locks, no_threads

PASSWORD = "T0p-secret-xyzzy"


def keep_in(config: Path, state: str) -> None:
    text = re.sub(r"state: .*", f"state: {state}", config.read_text(encoding="utf-8"))
    config.write_text(text, encoding="utf-8")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path, "--rename-command", "HELLO", "", password=PASSWORD) as one:
        yield one


def test_no_password_of_redis_is_shown(config: Path, tmp_path: Path, server: RedisServer) -> None:
    output = []
    for query in ("", "?protocol=3"):
        keep_in(config, f"{{redis_url: '{server.url}{query}'}}")
        with started(
            f"--config.file={config}", LOCAL, "--log.level=debug", log=tmp_path / f"log{query}"
        ) as serving:
            if query:
                serving.says("it does not support HELLO; leave protocol=3 out of state.redis_url")
            else:
                ready(serving)
                assert serving.end() == 0
            output.append(serving.output)
    assert "xyzzy" not in "".join(output)


def counts(one: Exporter) -> list[int]:
    """How many builds each job shows."""
    return [sum(view.ledger.counts.values()) if view.ledger else 0 for view in one.view.jobs]


def test_neither_a_reload_nor_a_restart_shows_what_redis_went_back_to(
    simulator: Simulator, config: Path, server: RedisServer
) -> None:
    keep_in(config, f"{{redis_url: '{server.url}'}}")
    text = config.read_text(encoding="utf-8")
    one = Exporter(load(config))
    one.threads.start()
    stopped = False
    try:
        eventually(
            lambda: one.view.is_complete and all(v.ledger and v.ledger.last for v in one.view.jobs), 60
        )
        with server.client() as client:
            before = client.hgetall(KEY)
        for job in simulator.fleet.jobs():
            simulator.fleet.add_build(job.id, duration_s=0.01, queue_s=0.01)
        shown = [count + 1 for count in counts(one)]
        eventually(lambda: counts(one) == shown, 60)
        # From here on no job is polled again soon.
        config.write_text(text.replace("500ms, max_interval: 1s", "1d, max_interval: 1d"), encoding="utf-8")
        one.reload(lambda: load(config))

        def reload() -> None:
            config.write_text(config.read_text(encoding="utf-8").replace("30s", "29s"), encoding="utf-8")
            one.reload(lambda: load(config))

        for end in (reload, lambda: one.stop(20)):
            with server.client() as client:
                client.delete(KEY)
                client.hset(KEY, mapping=before)
            stopped = bool(end())
            assert counts(one) == shown
        restarted = Exporter(load(config))
        assert counts(restarted) == shown
        restarted.store.close()
    finally:
        assert stopped or one.stop(20)


def ended(config: Path, folder: Path, before: Callable[[], None] | None = None, *flags: str) -> str:
    """What a start that fails says."""
    done = subprocess.run(
        [*PROGRAM, *flags, f"--config.file={config}"],
        cwd=folder,
        preexec_fn=before,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return done.stderr.splitlines()[-1] if done.stderr else done.stdout


def test_a_working_directory_that_is_deleted_is_named(config: Path, tmp_path: Path) -> None:
    keep_in(config, "{path: state.db}")
    for flags in ((LOCAL,), ("check-config", "--online")):
        folder = tmp_path / "folder"
        folder.mkdir()
        said = ended(config, folder, folder.rmdir, *flags)
        assert "state.db: " in said
        assert "the working directory was deleted" in said


def test_a_start_without_locks_says_so_in_a_line(config: Path, tmp_path: Path) -> None:
    keep_in(config, f"{{path: {tmp_path / 'state.db'}}}")
    said = ended(config, tmp_path, no_locks(), LOCAL)
    assert said.startswith(
        f"codearts-build-exporter: {tmp_path / 'state.db'}: cannot open: its file system has"
    )


def test_a_start_without_threads_says_so_in_a_line(config: Path, tmp_path: Path) -> None:
    assert ended(config, tmp_path, no_threads(), LOCAL) == (
        "codearts-build-exporter: cannot start more threads; "
        "raise the process limit (ulimit -u, TasksMax, pids.max)"
    )
