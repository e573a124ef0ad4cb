"""SIGHUP and POST /-/reload: the configuration changes under a running exporter, and no count is lost."""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from exporter import app
from exporter.config import load
from exporter.errors import ConfigError, ExporterError, StoreError
from exporter.ledger.job_ledger import JobLedger
from exporter.simulator import Simulator, fault
from tests.cli.conftest import Running, started
from tests.cli.test_running import LOCAL, ready
from tests.support.programs import eventually

SERIES = re.compile(r"^(codearts_build_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Serving:
    """A running exporter, and the file it was configured by."""

    def __init__(self, process: Running, url: str, config: Path) -> None:
        self.process = process
        self.url = url
        self.config = config

    def value(self, name: str, *labels: str) -> float:
        """The sum over the series with these labels."""
        text = requests.get(f"{self.url}/metrics", timeout=5).text
        return sum(
            float(value)
            for series, shown, value in SERIES.findall(text)
            if series == f"codearts_build_{name}" and all(label in shown for label in labels)
        )

    def change(self, old: str, new: str) -> None:
        text = self.config.read_text(encoding="utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), encoding="utf-8")

    def reload(self) -> requests.Response:
        return requests.post(f"{self.url}/-/reload", timeout=20)


@pytest.fixture
def serving(config: Path, tmp_path: Path) -> Iterator[Serving]:
    config.write_text(config.read_text().replace('":memory:"', str(tmp_path / "state.db")))
    flags = (f"--config.file={config}", LOCAL, "--web.enable-lifecycle")
    with started(*flags, log=tmp_path / "log") as process:
        yield Serving(process, ready(process), config)


def builds(simulator: Simulator, serving: Serving, job: int = 0) -> None:
    """One build more of a job, seen to its end."""
    wanted = serving.value("builds_total") + 1
    simulator.fleet.add_build(simulator.fleet.jobs()[job].id, queue_s=0, duration_s=0.05)
    eventually(lambda: serving.value("builds_total") == wanted, 30)


@pytest.mark.parametrize("how", ["signal", "request"])
def test_a_reload_keeps_every_count(simulator: Simulator, serving: Serving, how: str) -> None:
    builds(simulator, serving)
    serving.change("interval: 500ms", "interval: 400ms")
    if how == "signal":
        serving.process._process.send_signal(signal.SIGHUP)
    else:
        assert (serving.reload().status_code, serving.reload().text) == (200, "reloaded\n")
    serving.process.says("event=config_reloaded")
    assert serving.value("builds_total") == 1
    assert serving.value("job_up") == 3
    builds(simulator, serving)
    assert serving.value("builds_total") == 2
    assert serving.value("recovered_builds_total") == 0


def test_builds_that_end_during_reloads_are_counted_once(simulator: Simulator, serving: Serving) -> None:
    builds(simulator, serving)
    for _ in range(8):
        for job in simulator.fleet.jobs():
            simulator.fleet.add_build(job.id, queue_s=0, duration_s=0.05)
        assert serving.reload().status_code == 200
    eventually(lambda: serving.value("builds_total") == 25, 30)
    assert serving.value("lost_builds_total") == 0


def calm(config: Path, more: str = "") -> None:
    """Nothing is due for a minute after it was asked."""
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("interval: 500ms, max_interval: 1s", "interval: 1m") + more, "utf-8")


@contextmanager
def polling(config: Path) -> Iterator[app.Exporter]:
    """An exporter without a server, until it knows every job and the recycle bin."""
    one = app.Exporter(load(config))
    one.threads.start()
    try:
        eventually(lambda: one.poller.is_ready and one.view.recycle_bin is not None, 20)
        yield one
    finally:
        assert one.stop(5)


def operations(simulator: Simulator) -> set[str]:
    return {exchange.operation for exchange in simulator.requests}


def test_a_reload_costs_no_reading_that_is_not_due(simulator: Simulator, config: Path) -> None:
    calm(config)
    with polling(config) as one:
        eventually(lambda: not one.poller._planner.schedule.under_way, 10)
        simulator.reset_counts()
        for _ in range(5):
            one.reload(lambda: load(config))
            assert one.poller.is_ready
            assert one.view.recycle_bin is not None
            assert one.poller._planner.schedule.lag(time.monotonic()) == 0, "something was due"
        assert simulator.requests == []


def test_an_unchanged_configuration_exchanges_nothing(
    simulator: Simulator, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = config.read_text(encoding="utf-8").replace("password: {", "password: {password_file: secret, ")
    secret = config.with_name("secret")
    secret.write_text(simulator.credentials.password)
    config.write_text(re.sub(r", password: \S+, project", ", project", text), encoding="utf-8")
    monkeypatch.setenv("SOMETHING", "a")
    file = app.ConfigFile(str(config))
    one = app.Exporter(file.load())
    one.threads.start()

    def reload() -> bool:
        """Whether it exchanges anything."""
        before = one.threads, one.client, one.poller
        one.telemetry.reload_timestamp.set(0)
        one.reload(file.load)
        assert one.telemetry.readings().config_loaded_ms
        return before != (one.threads, one.client, one.poller)

    try:
        assert [reload() for _ in range(3)] == [False, False, False]
        config.write_text(config.read_text(encoding="utf-8") + "# a comment\n", encoding="utf-8")
        assert [reload(), reload()] == [True, False]
        secret.write_text("another")
        assert [reload(), reload()] == [True, False]
        monkeypatch.setenv("SOMETHING", "b")
        assert [reload(), reload()] == [True, False]
        config.write_text("nonsense", encoding="utf-8")
        with pytest.raises(ExporterError):
            reload()
        assert not one.telemetry.readings().config_ok
    finally:
        assert one.stop(5)


def test_an_unchanged_configuration_is_not_even_parsed(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = app.ConfigFile(str(config))
    before = file.load()
    monkeypatch.setattr(app, "load", None)
    assert file.load() is before


def test_a_changed_project_is_read_at_once(simulator: Simulator, config: Path) -> None:
    calm(config)
    new = simulator.fleet.add_job("search", "shop")
    with polling(config) as one:
        simulator.reset_counts()
        calm(config, f"projects: [{{id: {new.project_id}}}]\n")
        one.reload(lambda: load(config))
        eventually(lambda: one.poller.watched == 4 and one.poller.is_ready, 10)
        assert "recycling-jobs" not in operations(simulator)


def test_reloads_in_a_row_leave_no_threads_and_take_no_budget(simulator: Simulator, config: Path) -> None:
    calm(config)
    text = config.read_text(encoding="utf-8").replace(
        "interval: 1m", "interval: 1m, max_requests_per_minute: 2"
    )
    config.write_text(text, encoding="utf-8")
    one = app.Exporter(load(config))
    one.threads.start()
    try:
        eventually(lambda: len(one.throttle._queue) > 0, 10)
        for _ in range(5):
            one.reload(lambda: load(config))
        workers = one.config.poll.concurrency + 2  # one each for job lists and recycle bin
        eventually(lambda: len(polling_threads()) == 1 + workers, 10)
        assert len(one.throttle._queue) <= workers
    finally:
        assert one.stop(5)
    eventually(lambda: not polling_threads(), 5)


def polling_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("poller")]


def test_a_reload_that_fails_late_leaves_no_job_behind(
    simulator: Simulator, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = app.Exporter(load(config))
    simulator.faults.add(fault("hang", operation="job-list"))
    one.threads.start()

    def broken(*_: object) -> dict[str, JobLedger]:
        raise StoreError("gone")

    try:
        eventually(lambda: "job-list" in operations(simulator), 10)
        with monkeypatch.context() as patched:
            patched.setattr(one.store, "load", broken)
            with pytest.raises(StoreError):
                one.reload(lambda: load(config))
        simulator.faults.clear()
        eventually(lambda: one.poller.is_ready, 20)
    finally:
        assert one.stop(5)


def test_a_reload_adds_links_to_the_console(serving: Serving) -> None:
    assert serving.value("job_info", 'url="') == 0
    serving.change("jobs:\n", 'console: {job_url: "https://console.example/{job_id}"}\njobs:\n')
    assert serving.reload().status_code == 200
    eventually(lambda: serving.value("job_info", 'url="https://console.example/') == 3, 10)
    page = requests.get(f"{serving.url}/", timeout=5).text
    assert page.count(' href="https://console.example/') == 3


def test_jobs_come_and_go_and_come_back_with_their_counts(simulator: Simulator, serving: Serving) -> None:
    builds(simulator, serving)
    gone = f"  - {{id: {simulator.fleet.jobs()[0].id}, name: checkout, project: shop}}\n"
    serving.change(gone, "")
    assert serving.reload().status_code == 200
    eventually(lambda: serving.value("job_info", 'job_name="checkout"') == 0, 10)
    assert serving.value("job_info") == 2
    serving.change("jobs:\n", f"jobs:\n{gone}")
    assert serving.reload().status_code == 200
    eventually(lambda: serving.value("job_info") == 3, 10)
    assert serving.value("builds_total", 'job_name="checkout"') == 1
    builds(simulator, serving)
    assert serving.value("builds_total", 'job_name="checkout"') == 2


def test_buckets_and_labels_change_and_sums_stay(simulator: Simulator, serving: Serving) -> None:
    builds(simulator, serving)
    total = serving.value("duration_seconds_sum")
    with serving.config.open("a", encoding="utf-8") as file:
        file.write("metrics: {duration_buckets: [10, 45], extra_labels: [trigger]}\n")
    assert serving.reload().status_code == 200
    eventually(lambda: serving.value("duration_seconds_bucket", 'le="45.0"') == 1, 10)
    assert serving.value("duration_seconds_sum") == total
    assert serving.value("builds_total", 'trigger="unknown"') == 1


def test_credentials_change(simulator: Simulator, serving: Serving) -> None:
    known = simulator.credentials
    auth = re.search(r"auth: .*", serving.config.read_text(encoding="utf-8"))
    assert auth
    serving.change(auth[0], f"auth: {{token: {known.tokens[0]}}}")
    assert serving.reload().status_code == 200
    simulator.expire_tokens()
    serving.change(f"auth: {{token: {known.tokens[0]}}}", auth[0])
    assert serving.reload().status_code == 200
    builds(simulator, serving)


def test_a_recycle_bin_that_is_to_be_read_no_more_shows_nothing(serving: Serving) -> None:
    eventually(lambda: serving.value("recycle_bin_last_read_timestamp_seconds") > 0, 30)
    with serving.config.open("a", encoding="utf-8") as file:
        file.write("recycle_bin: {enabled: false}\n")
    assert serving.reload().status_code == 200
    eventually(lambda: serving.value("recycle_bin_last_read_timestamp_seconds") == 0, 10)
    assert serving.value("recycle_bin_retention_seconds") == 0


def cut_off(text: str) -> str:
    return text[: len(text) // 2]


def unknown_key(text: str) -> str:
    return f"{text}polling: {{}}\n"


def elsewhere(text: str) -> str:
    return re.sub(r"state: .*", 'state: {path: ":memory:"}', text)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_off, "config.yaml"),
        (unknown_key, "polling"),
        (elsewhere, "state: cannot be changed while the exporter runs; restart it"),
    ],
)
def test_a_bad_file_changes_nothing(
    simulator: Simulator, serving: Serving, damage: Callable[[str], str], reason: str
) -> None:
    good = serving.config.read_text(encoding="utf-8")
    builds(simulator, serving)
    serving.config.write_text(damage(good), encoding="utf-8")
    answer = serving.reload()
    assert answer.status_code == 500
    assert reason in answer.text
    assert reason in serving.process.says("event=config_not_reloaded")
    eventually(lambda: serving.value("exporter_config_last_reload_successful") == 0, 10)
    builds(simulator, serving)
    assert serving.value("builds_total") == 2
    serving.config.write_text(good, encoding="utf-8")
    assert serving.reload().status_code == 200
    eventually(lambda: serving.value("exporter_config_last_reload_successful") == 1, 10)
    assert simulator.credentials.password not in answer.text + serving.process.output


def test_a_file_that_is_missing_at_a_reload_comes_without_advice_for_a_start(config: Path) -> None:
    file = app.ConfigFile(str(config))
    file.load()
    config.unlink()
    with pytest.raises(ConfigError, match=r": cannot be read: No such file or directory$"):
        file.load()


def test_nobody_reloads_by_request_unless_that_was_allowed(config: Path, tmp_path: Path) -> None:
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as process:
        url = ready(process)
        answer = requests.post(f"{url}/-/reload", timeout=5)
        assert (answer.status_code, "--web.enable-lifecycle" in answer.text) == (403, True)
        assert requests.get(f"{url}/-/reload", timeout=5).status_code == 405


def test_a_hanging_commit_fails_a_reload_and_polling_continues(
    simulator: Simulator, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_COMMIT_WITHIN_S", 0.2)
    one = app.Exporter(load(config))
    hang, go_on = threading.Event(), threading.Event()
    commit = one.store.commit

    def slow(changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        hang.set()
        go_on.wait(20)
        return commit(changed)

    monkeypatch.setattr(one.store, "commit", slow)
    one.threads.start()
    try:
        assert hang.wait(20)
        with pytest.raises(ExporterError, match="the current commit did not finish within"):
            one.reload(lambda: load(config))
        before = one.threads
        go_on.set()
        eventually(lambda: one.threads is not before, 20)
        asked = len(simulator.requests)
        eventually(lambda: len(simulator.requests) > asked + 5, 20)
        monkeypatch.setattr(app, "_COMMIT_WITHIN_S", 20)
        one.reload(lambda: load(config))
    finally:
        go_on.set()
        assert one.stop(20)
