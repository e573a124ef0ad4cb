"""Commands, flags and exit codes: 0 fine, 1 ran and failed, 2 wrong usage or configuration."""

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from click.shell_completion import ShellComplete, get_completion_class
from click.testing import CliRunner

from exporter import __version__
from exporter.cli.commands import cli
from exporter.simulator import Simulator, fault
from tests.cli.conftest import run, started
from tests.support.markdown import fences
from tests.support.programs import answers, program

ROOT = Path(__file__).parents[2]

PROG = "codearts-build-exporter"
VARIABLE = "_CODEARTS_BUILD_EXPORTER_COMPLETE"
COMMANDS = ("serve", "check-config", "list-jobs", "backfill", "demo", "simulate")


def calm(config: Path) -> None:
    """Let it poll no more often than the ceiling of requests bears."""
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("interval: 500ms, max_interval: 1s, ", ""), encoding="utf-8")


class TestUsage:
    def test_version(self) -> None:
        ended = run("--version")
        assert ended.code == 0
        assert ended.out.splitlines() == [
            f"codearts-build-exporter, version {__version__} (revision: unknown)",
            f"  python version: {platform.python_version()}",
            f"  platform: {sys.platform}/{platform.machine()}",
        ]

    def test_the_version_has_the_revision_that_the_image_was_built_from(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EXPORTER_REVISION", "100%d abc")
        assert "(revision: 100%d abc)\n" in run("--version").out

    def test_help_lists_commands_as_declared_and_the_flag_for_help_first(self) -> None:
        lines = run("--help").out.splitlines()
        assert [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]] == list(COMMANDS)
        for command in COMMANDS:
            shown = CliRunner().invoke(cli, [command, "--help"]).output.splitlines()
            assert shown[shown.index("Options:") + 1].startswith("  -h, --help ")

    def test_the_installed_script_is_the_same_as_the_module(self) -> None:
        script = shutil.which("codearts-build-exporter", path=str(Path(sys.executable).parent))
        assert script
        assert run("--version", program=[script]) == run("--version")

    @pytest.mark.parametrize(
        ("arguments", "unneeded"),
        [
            ("--version", ["exporter.config", "exporter.simulator", "pydantic", "structlog"]),
            ("serve --help", ["exporter.app", "pydantic"]),
            ("simulate --host=203.0.113.1", ["exporter.app", "exporter.config", "pydantic"]),
            ("check-config {}", ["exporter.app", "exporter.simulator", "requests", "structlog"]),
            ("{}", ["exporter.backfill", "exporter.doctor", "exporter.simulator"]),
        ],
    )
    def test_a_command_imports_only_what_it_needs(
        self, arguments: str, unneeded: list[str], tmp_path: Path
    ) -> None:
        missing = f"--config.file={tmp_path / 'nowhere.yaml'}"
        code = "import atexit, sys, exporter.cli\natexit.register(lambda: print(*sys.modules))"
        command = ["-c", f"{code}\nexporter.cli.main()", *arguments.format(missing).split()]
        ended = run(*command, program=[sys.executable], new=True)
        imported = set(ended.out.splitlines()[-1].split())
        assert "exporter.cli.commands" in imported
        assert not imported & set(unneeded)

    def test_help_names_every_command(self) -> None:
        ended = run("--help")
        assert ended.code == 0
        assert all(re.search(rf"^  {command} ", ended.out, re.MULTILINE) for command in COMMANDS)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_has_help(self, command: str) -> None:
        ended = run(command, "--help")
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith(f"Usage: codearts-build-exporter {command} [OPTIONS]")

    @pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids="".join)
    def test_a_short_flag_shows_the_help_too(self, command: list[str]) -> None:
        short, full = (CliRunner().invoke(cli, [*command, flag]) for flag in ("-h", "--help"))
        assert (short.exit_code, short.output) == (0, full.output)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("chek-config", "no such command 'chek-config'; did you mean 'check-config'?"),
            ("serv --shard=0", "no such command 'serv'; did you mean 'serve'?"),
            ("start", "no such command 'start'; the commands are serve, check-config, list-jobs, backfill,"),
            ("my.yaml", "no such command 'my.yaml'; a configuration is given with --config.file=my.yaml"),
            ("serve my.yaml", "unexpected argument 'my.yaml'; a configuration is given with --config.file="),
            ("--log.level=info demo", "unexpected argument 'demo'; a command comes before its flags"),
            ("serve now", "unexpected argument 'now'; serve takes flags only"),
        ],
    )
    def test_a_misplaced_word_is_named_with_a_suggestion(self, arguments: str, message: str) -> None:
        ended = CliRunner().invoke(cli, arguments.split())
        assert ended.exit_code == 2
        assert ended.output.splitlines()[-1].startswith(f"Error: {message}")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--bogus"],
            ["serve", "--log.level=loud"],
            ["serve", "--web.telemetry-path=metrics"],
            ["serve", "--web.telemetry-path=/"],
            ["serve", "--web.telemetry-path=/-/ready"],
            ["serve", "--web.telemetry-path=/metrics?x=1"],
            ["serve", "--web.telemetry-path=/metrics#x"],
            ["serve", "--web.telemetry-path=/metrics%20x"],
            ["serve", "--web.telemetry-path=//metrics"],
            ["serve", "--web.telemetry-path=/a/../metrics"],
            ["check-config", "one.yaml", "two.yaml"],
            ["check-config", "one.yaml", "--config.file=config.yaml"],
            ["check-config", "--config.file="],
            ["check-config", ""],
            ["list-jobs", "one.yaml", "--config.file=config.yaml"],
            ["simulate", "--port=many"],
            ["simulate", "--port=99999"],
            ["simulate", "--speed=nan"],
            ["simulate", "--speed=0"],
            ["simulate", "--jobs=-5"],
            ["serve", "--shard=last"],
            ["serve", "--shard=-1", "--total-shards=2"],
            ["serve", "--shard=--1", "--total-shards=2"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage_exits_2(self, arguments: list[str]) -> None:
        ended = CliRunner().invoke(cli, arguments)
        assert ended.exit_code == 2
        assert "\nError: " in ended.output


class TestCompletion:
    @pytest.mark.parametrize(
        ("words", "offered"),
        [
            ([""], {*COMMANDS}),
            (["che"], {"check-config"}),
            (["--v"], {"--version"}),
            (["--web.e"], {"--web.enable-lifecycle"}),
            (["serve", "--web.e"], {"--web.enable-lifecycle"}),
            (["--shard", "0", "--log.l"], {"--log.level"}),
            (["--log.format", ""], {"logfmt", "json"}),
            (["--log.format=j"], {"json"}),
            (["check-config", "--"], {"--config.file", "--online", "--help"}),
            (["--shard=0", "dem"], set()),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_it_offers_commands_flags_and_values(self, words: list[str], offered: set[str]) -> None:
        found = ShellComplete(cli, {}, PROG, VARIABLE).get_completions(words[:-1], words[-1])
        assert {item.value for item in found} == offered

    @pytest.mark.parametrize(
        ("shell", "value"), [("bash", "json"), ("zsh", "--log.format=json"), ("fish", "--log.format=json")]
    )
    def test_a_value_after_an_equals_sign_is_offered_as_each_shell_wants_it(
        self, shell: str, value: str
    ) -> None:
        offers = get_completion_class(shell)
        assert offers
        [found] = offers(cli, {}, PROG, VARIABLE).get_completions([], "--log.format=j")
        assert found.value == value

    @pytest.mark.parametrize(
        ("shell", "line"), [("zsh", "compset -P '--*='; _path_files -f"), ("fish", "echo $flag$path")]
    )
    def test_zsh_and_fish_complete_paths_after_an_equals_sign(self, shell: str, line: str) -> None:
        script = get_completion_class(shell)
        assert script
        assert line in script(cli, {}, PROG, VARIABLE).source()

    @pytest.mark.parametrize("words", [["--config.file", ""], ["check-config", ""], ["--config.file=con"]])
    def test_it_offers_files_for_the_configuration(self, words: list[str]) -> None:
        [found] = ShellComplete(cli, {}, PROG, VARIABLE).get_completions(words[:-1], words[-1])
        assert found.type == "file"

    @pytest.mark.parametrize(
        ("words", "offered"),
        [
            ("--log.format = j", "json"),
            ("--log.format =", "logfmt json"),
            ("list-jobs --format = t", "table"),
            ("--log.level w", "warn"),
        ],
    )
    def test_bash_completes_values_after_an_equals_sign_which_it_passes_as_a_word(
        self, words: str, offered: str
    ) -> None:
        assert self.completed_by_bash(words) == f"{offered}\n"

    def test_the_documented_line_for_bash_works(self) -> None:
        assert self.completed_by_bash("che") == "check-config\n"

    def completed_by_bash(self, words: str) -> str:
        """What bash offers for the last word after the documented line."""
        [lines] = fences((ROOT / "docs" / "command-line.md").read_text(encoding="utf-8"), "sh")
        assert re.findall(rf"{VARIABLE}=(\w+)_source {PROG}", lines) == ["bash", "zsh", "fish"]
        script = (
            f"{lines.splitlines()[0]}\n"
            f"COMP_WORDS=({PROG} {words}) COMP_CWORD={len(words.split())}\n"
            f'read -ra words <<< "$(complete -p {PROG})"\n'
            'for word in "${words[@]}"; do [[ $word == _* ]] && "$word" codearts-build-exporter; done\n'
            'echo "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            [program("bash"), "-c", script],
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout


class TestCheckConfig:
    def test_a_valid_file(self, config: Path) -> None:
        ended = run("check-config", f"--config.file={config}")
        assert (ended.code, ended.err) == (0, "")
        assert re.fullmatch(rf"{config} is valid: 3 jobs, http://.*, every 0.5 s\n", ended.out)

    def test_the_file_can_be_given_without_its_flag(self, config: Path) -> None:
        ended = run("check-config", str(config))
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith(f"{config} is valid: ")

    def test_by_default_it_is_config_yaml_here(self, config: Path) -> None:
        assert run("check-config", folder=config.parent).code == 0

    def test_branches_without_their_label_are_noted(self, config: Path) -> None:
        config.write_text(config.read_text() + "metrics: {branches: [main]}\n")
        ended = run("check-config", str(config))
        assert (ended.code, ended.err) == (
            0,
            "note: metrics.branches has no effect, because metrics.extra_labels lacks branch\n",
        )

    def test_an_invalid_file_is_reported_line_by_line(self, config: Path) -> None:
        text = config.read_text(encoding="utf-8").replace("timeout: 30s", "time_out: 30s")
        config.write_text(text + "colour: blue\n", encoding="utf-8")
        ended = run("check-config", f"--config.file={config}")
        assert (ended.code, ended.out) == (2, "")
        lines = ended.err.splitlines()
        assert len(lines) == 2
        assert all(line.startswith(f"codearts-build-exporter: {config}:") for line in lines)
        assert 'did you mean "timeout"?' in lines[0]
        assert "colour" in lines[1]

    @pytest.mark.parametrize(
        ("command", "advice"),
        [
            ("serve", "; --config.file=FILE names another, and the command demo needs none"),
            ("check-config", ""),
            ("list-jobs", ""),
        ],
    )
    def test_a_missing_file_is_named(self, command: str, advice: str, tmp_path: Path) -> None:
        missing = tmp_path / "nowhere.yaml"
        ended = run(command, f"--config.file={missing}")
        assert ended.code == 2
        reason = f"{missing}: cannot be read: No such file or directory{advice}"
        assert ended.err == f"codearts-build-exporter: {reason}\n"

    def test_online_all_is_well(self, config: Path) -> None:
        calm(config)
        ended = run("check-config", "--online", f"--config.file={config}")
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert lines[0].startswith(f"{config} is valid: 3 jobs")
        assert lines[1].startswith("asking: about 7 requests")
        titles = [line for line in lines[3:] if re.fullmatch(r"[A-Z][a-z ]+", line)]
        assert titles == [
            *("Address", "Clock", "Credentials", "Permissions", "Jobs", "State", "Requests"),
            *("Series and memory", "What to change"),
        ]
        visible = re.compile(r"  ok +shop/checkout [0-9a-z]{32}: visible, last build 1")
        assert any(map(visible.fullmatch, lines))
        assert lines[-1] == "No problem, 1 note."
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

    def test_online_a_wrong_password_is_reported_but_not_shown(
        self, simulator: Simulator, config: Path
    ) -> None:
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace(simulator.credentials.password, "wr0ng-secret"), encoding="utf-8")
        ended = run("check-config", "--online", f"--config.file={config}")
        assert ended.code == 1
        assert "refused the credentials" in ended.out
        assert "tried again" not in ended.out
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
        assert last.endswith("(--web.listen-address selects another)")
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
    def test_it_prints_a_configuration_that_works_with_it(self, tmp_path: Path) -> None:
        with started("simulate", "--jobs=5", log=tmp_path / "log") as simulating:
            found = re.search(r"on (http://\S+), 5 jobs", simulating.says("CodeArts Build simulator on"))
            assert found
            truth = simulating.says("/_sim/truth").split()[-1]
            assert truth == f"{found[1]}/_sim/truth"
            assert answers(truth)
            config = tmp_path / "config.yaml"
            config.write_text(simulating.output, encoding="utf-8")
            valid, listed = (
                CliRunner().invoke(cli, [*words, f"--config.file={config}"])
                for words in (["check-config", "--online"], ["list-jobs", "--format=json"])
            )
            assert valid.exit_code == 0, valid.output
            assert len(json.loads(listed.stdout)) == 5
            assert simulating.end() == 0

    @pytest.mark.parametrize("kind", ["password", "access_key"])
    def test_the_credentials_in_its_comments_work_too(self, kind: str, tmp_path: Path) -> None:
        with started("simulate", "--jobs=1", log=tmp_path / "log") as simulating:
            simulating.says(", 1 job. This is a configuration for it.")
            simulating.says("/_sim/truth")
            text = re.sub(r"(?m)^  token: .*\n", "", simulating.output).replace(f"# {kind}", kind)
            config = tmp_path / "config.yaml"
            config.write_text(text, encoding="utf-8")
            listed = CliRunner().invoke(cli, ["list-jobs", f"--config.file={config}"])
            assert listed.exit_code == 0, listed.output
            assert len(listed.stdout.splitlines()) == 2

    def test_a_taken_port_exits_1(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = run("simulate", f"--port={port}")
        assert ended.code == 1
        assert f"cannot listen on 127.0.0.1:{port}" in ended.err
