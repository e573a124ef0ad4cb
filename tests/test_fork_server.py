"""Programs that tests fork are like those that an interpreter starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import fork_server
from tests.support.programs import eventually

LOOK = """
import gc, os, signal, sys, threading
streams = [sys.stdin, sys.stdout, sys.stderr]
print([(s.name, s.mode, s.seekable(), s.encoding, s.errors, s.line_buffering, s.write_through, type(s.buffer))
    for s in streams])
print(sorted(int(number) for number in os.listdir("/proc/self/fd") if int(number) < 3), os.get_inheritable(1))
print(sys.argv, sys.path[0], os.getcwd(), __name__, sys.modules["__main__"].__dict__ is globals())
print(sorted(os.environ.items()), sys.flags)
print([signal.getsignal(number) for number in sorted(signal.valid_signals())], signal.pthread_sigmask(0, []))
print(os.getppid(), os.getpgrp(), os.getsid(0), os.umask(0o77), gc.isenabled())
print([one.name for one in threading.enumerate()])
print(repr(sys.stdin.read()))
"""


@pytest.fixture(params=["-c", "-m"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    (tmp_path / "look.py").write_text(LOOK)
    return [sys.executable, request.param, "look" if request.param == "-m" else LOOK, "a word", "构建"]


def python(code: str, **how: Any) -> fork_server.Popen:
    return fork_server.Popen([sys.executable, "-c", code], **how)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_forked_program_looks_like_one_that_was_started(
    program: list[str], tmp_path: Path, ignored: bool
) -> None:
    how: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {**os.environ, "COLOUR": "blue"},
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
    }
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        with subprocess.Popen(program, **how) as started, fork_server.Popen(program, **how) as forked:
            expected, found = (process.communicate(b"given", timeout=60)[0] for process in (started, forked))
    finally:
        signal.signal(signal.SIGINT, before)
    assert found.splitlines() == expected.splitlines()
    assert (started.returncode, forked.returncode, f"\n{os.getpid()} " in found.decode()) == (0, 0, True)


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("pass", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('reason')", 1),
        ("1 / 0", 1),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM),
        ("import signal; signal.signal(2, signal.SIG_DFL); signal.raise_signal(2)", -signal.SIGINT),
        ("import threading, os; threading.Timer(0.1, os._exit, [7]).start()", 7),
        ("import atexit, os; atexit.register(os._exit, 8)", 8),
    ],
)
def test_the_exit_code_is_its_own(code: str, ended: int) -> None:
    assert fork_server.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == ended


def test_it_is_stopped_continued_and_killed_like_any_process() -> None:
    with python("import time; print(flush=True); time.sleep(600)", stdout=subprocess.PIPE) as forked:
        assert forked.stdout
        forked.stdout.readline()
        status = Path(f"/proc/{forked.pid}/stat")
        for sign, state in ((signal.SIGSTOP, "T"), (signal.SIGCONT, "S")):
            forked.send_signal(sign)
            eventually(lambda state=state: status.read_text().rpartition(")")[2].split()[0] == state)  # type: ignore[misc]
        assert forked.poll() is None
        forked.kill()
        assert forked.wait(60) == -signal.SIGKILL
    assert not status.exists()


def test_programs_do_not_share_what_is_random() -> None:
    code = "import random, secrets, uuid; print(random.random(), secrets.token_hex(), uuid.uuid4())"
    said = {
        fork_server.run([sys.executable, "-c", code], capture_output=True, timeout=60).stdout for _ in "123"
    }
    assert len(said) == 3


def test_what_an_interpreter_reads_when_it_starts_starts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; print(sys.flags.hash_randomization, 'exporter' in sys.modules)",
    ]
    assert fork_server.run(command, capture_output=True, timeout=60).stdout == b"1 True\n"
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    assert fork_server.run(command, capture_output=True, timeout=60).stdout == b"0 False\n"
