"""Commands, flags and exit codes: 0 fine, 1 ran and failed, 2 wrong usage or configuration."""

import re
import shutil
import socket
import sys
from pathlib import Path

import pytest
import requests

from exporter import __version__
from exporter.simulator import Simulator, fault
from tests.cli.conftest import run, started
from tests.support.programs import answers

COMMANDS = ("serve", "check-config", "demo", "simulate")


def calm(config: Path) -> None:
    """Let it poll no more often than the ceiling of requests bears."""
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("interval: 500ms, max_interval: 1s, ", ""), encoding="utf-8")


class TestUsage:
    def test_version(self) -> None:
        ended = run("--version")
        assert (ended.code, ended.out) == (0, f"codearts-build-exporter, version {__version__}\n")

    def test_the_installed_script_is_the_same_as_the_module(self) -> None:
        script = shutil.which("codearts-build-exporter", path=str(Path(sys.executable).parent))
        assert script
        assert run("--version", program=[script]) == run("--version")

    def test_help_names_every_command(self) -> None:
        ended = run("--help")
        assert ended.code == 0
        assert all(re.search(rf"^  {command} ", ended.out, re.MULTILINE) for command in COMMANDS)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_has_help(self, command: str) -> None:
        ended = run(command, "--help")
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith(f"Usage: codearts-build-exporter {command} [OPTIONS]")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["bogus"],
            ["--bogus"],
            ["serve", "--log.level=loud"],
            ["serve", "--web.telemetry-path=metrics"],
            ["serve", "--web.telemetry-path=/"],
            ["serve", "--web.telemetry-path=/-/ready"],
            ["check-config", "extra"],
            ["simulate", "--port=many"],
            ["serve", "--shard=last"],
            ["serve", "--shard=-1", "--total-shards=2"],
            ["serve", "--shard=--1", "--total-shards=2"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage_exits_2(self, arguments: list[str]) -> None:
        ended = run(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert "Error: " in ended.err


class TestCheckConfig:
    def test_a_right_one(self, config: Path) -> None:
        ended = run("check-config", f"--config.file={config}")
        assert (ended.code, ended.err) == (0, "")
        assert re.fullmatch(rf"{config} is right: 3 jobs, 0 projects, http://.*, every 0.5 s\n", ended.out)

    def test_by_default_it_is_config_yaml_here(self, config: Path) -> None:
        assert run("check-config", folder=config.parent).code == 0

    def test_a_wrong_one_is_told_line_by_line(self, config: Path) -> None:
        text = config.read_text(encoding="utf-8").replace("timeout: 30s", "time_out: 30s")
        config.write_text(text + "colour: blue\n", encoding="utf-8")
        ended = run("check-config", f"--config.file={config}")
        assert (ended.code, ended.out) == (2, "")
        lines = ended.err.splitlines()
        assert len(lines) == 2
        assert all(line.startswith(f"codearts-build-exporter: {config}:") for line in lines)
        assert 'did you mean "timeout"?' in lines[0]
        assert "colour" in lines[1]

    @pytest.mark.parametrize("command", ["serve", "check-config"])
    def test_a_missing_one_is_named(self, command: str, tmp_path: Path) -> None:
        ended = run(command, f"--config.file={tmp_path / 'nowhere.yaml'}")
        assert ended.code == 2
        assert "nowhere.yaml" in ended.err
        assert len(ended.err.splitlines()) == 1

    def test_online_all_is_well(self, config: Path) -> None:
        calm(config)
        ended = run("check-config", "--online", f"--config.file={config}")
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert lines[0].startswith(f"{config} is right: 3 jobs")
        assert lines[1].startswith("asking: about 7 requests")
        titles = [line for line in lines[3:] if re.fullmatch(r"[A-Z][a-z ]+", line)]
        assert titles == [
            *("Address", "Clock", "Credentials", "Permissions", "Jobs", "State", "Requests"),
            *("Series and memory", "What to change"),
        ]
        visible = re.compile(r"  ok +shop/checkout [0-9a-z]{32}: visible, last build 1")
        assert any(map(visible.fullmatch, lines))
        assert lines[-1] == "All is well, with 1 note."
        assert "\x1b" not in ended.out

    def test_online_one_job_is_not_visible(self, simulator: Simulator, config: Path) -> None:
        calm(config)
        hidden = simulator.fleet.jobs()[1]
        simulator.faults.add(
            fault("error", job=hidden.id, status=404, code="DEV.CB.032011", message="No such job.")
        )
        ended = run("check-config", "--online", f"--config.file={config}")
        assert (ended.code, ended.err) == (1, "")
        [row] = [line for line in ended.out.splitlines() if line.startswith("  problem")]
        assert row.startswith(f"  problem  shop/payment {hidden.id}: a list shows it")
        assert ended.out.splitlines()[-1] == "1 problem, 1 note."

    def test_online_a_wrong_password_is_told_without_it(self, simulator: Simulator, config: Path) -> None:
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace(simulator.credentials.password, "wr0ng-secret"), encoding="utf-8")
        ended = run("check-config", "--online", f"--config.file={config}")
        assert ended.code == 1
        assert "refused the credentials" in ended.out
        assert simulator.counts["auth", 401] == 1
        assert "wr0ng-secret" not in ended.out + ended.err
        assert "Traceback" not in ended.err


class TestServe:
    def test_a_taken_port_exits_1_and_is_named(self, config: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            ended = run(f"--config.file={config}", f"--web.listen-address={address}")
        assert (ended.code, ended.out) == (1, "")
        last = ended.err.splitlines()[-1]
        assert last.startswith(f"codearts-build-exporter: cannot listen on {address}: ")
        assert "Traceback" not in ended.err

    def test_a_wrong_address_exits_2(self, config: Path) -> None:
        ended = run(f"--config.file={config}", "--web.listen-address=everywhere")
        assert ended.code == 2
        assert "host:port" in ended.err

    @pytest.mark.parametrize("word", [["serve"], []], ids=["serve", "without-the-word"])
    def test_it_serves_on_every_address_it_logs(self, word: list[str], config: Path, tmp_path: Path) -> None:
        flags = ["--web.listen-address=127.0.0.1:0", "--web.listen-address=[::1]:0"]
        with started(*word, f"--config.file={config}", *flags, log=tmp_path / "log") as serving:
            assert "path=/metrics" in serving.says("event=listening address=127.0.0.1:")
            serving.says("event=listening address=[::1]:")
            for address in re.findall(r"event=listening address=(\S+)", serving.output):
                assert "codearts_build_up" in requests.get(f"http://{address}/metrics", timeout=5).text
            assert serving.end() == 0

    def test_the_telemetry_path_can_be_chosen(self, config: Path, tmp_path: Path) -> None:
        flags = ["--web.listen-address=127.0.0.1:0", "--web.telemetry-path=/probe"]
        with started(f"--config.file={config}", *flags, log=tmp_path / "log") as serving:
            found = re.search(r"address=(\S+) path=/probe", serving.says("event=listening"))
            assert found
            assert answers(f"http://{found[1]}/probe")
            assert not answers(f"http://{found[1]}/metrics")


class TestSimulate:
    def test_it_prints_where_it_is_and_how_to_log_in(self, tmp_path: Path) -> None:
        with started("simulate", "--jobs=5", log=tmp_path / "log") as simulating:
            found = re.search(r"on (http://\S+), 5 jobs", simulating.says("CodeArts Build simulator on"))
            assert found
            token = simulating.says("token ").split()[1]
            job = simulating.says("job ").split()[1]
            reply = requests.get(
                f"{found[1]}/v4/jobs/{job}/1/record-info", headers={"X-Auth-Token": token}, timeout=5
            )
            assert reply.status_code in (200, 404, 422)
            assert answers(f"{found[1]}/_sim/truth")
            assert simulating.end() == 0

    def test_a_taken_port_exits_1(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = run("simulate", f"--port={port}")
        assert ended.code == 1
        assert f"cannot listen on 127.0.0.1:{port}" in ended.err
