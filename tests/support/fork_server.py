"""Start Python programs in a tenth of the time: fork a process that has imported the exporter already.

A forked program is a process like any other, and a child of the test: with its own number, streams, folder,
environment, signals and exit code. A test that has to see an interpreter start uses `subprocess`.
"""

import atexit
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

_ROOT: Final = Path(__file__).parents[2]
_LARGEST_REQUEST: Final = 2**20
_READ_AT_IMPORT: Final = (
    *("PYTHON", "PROMETHEUS_", "PROTOCOL_BUFFERS_", "PYDANTIC_", "FORCE_COLOR", "NO_COLOR"),
    "EXPORTER_REVISION",
)
"""Beginnings of environment variables that are read when an interpreter starts, or by an import."""
_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_BECOME_REAPER: Final = 36
"""``PR_SET_CHILD_SUBREAPER``: orphans below this process become its children."""


class Popen(subprocess.Popen[bytes]):
    """Starts ``[sys.executable, "-m" or "-c", …]`` by the server, anything else as the base class does."""

    def _execute_child(self, *given: Any) -> None:
        start = super()._execute_child  # type: ignore[misc]  # not public, and unchanged since Python 3.11
        call = inspect.signature(start).bind(*given).arguments
        environment = dict(os.environ if call["env"] is None else call["env"])
        if not (_is_python(call) and _client().imported_with == _read_at_import(environment)):
            start(*given)
            return
        streams = [call["p2cread"], call["c2pwrite"], call["errwrite"]]
        self.pid = _client().start(
            {
                "arguments": [os.fspath(word) for word in call["args"]][1:],
                "folder": os.fspath(call["cwd"] or Path.cwd()),
                "environment": environment,
                "ignored": [number for number in _SIGNALS if signal.getsignal(number) == signal.SIG_IGN],
            },
            [stream if stream != -1 else number for number, stream in enumerate(streams)],
        )
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(call[end] for end in ends))  # type: ignore[attr-defined]


def run(command: list[str], *, capture_output: bool = False, timeout: float, **how: Any) -> Any:
    """Run a program that ends by itself, as `subprocess.run` does."""
    if capture_output:
        how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(command, **how) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _is_python(call: dict[str, Any]) -> bool:
    unusual = ("executable", "preexec_fn", "pass_fds", "shell", "start_new_session", "uid", "gid", "gids")
    words = call["args"]
    return (
        sys.platform == "linux"
        and isinstance(words, list)
        and words[0] == sys.executable
        and words[1] in ("-c", "-m")
        and not any(call[name] for name in unusual)
        and call["umask"] == call["process_group"] == -1
    )


def _read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_IMPORT)}


class _Client:
    """The connection of this process to its server."""

    def __init__(self) -> None:
        import ctypes

        self._lock = threading.Lock()
        self.imported_with = _read_at_import(os.environ)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if ctypes.CDLL(None, use_errno=True).prctl(_BECOME_REAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self._close)

    def _close(self) -> None:
        self._socket.close()
        self._server.wait()

    def start(self, request: dict[str, object], streams: list[int]) -> int:
        """Start a program; return its process number."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
            answer = self._socket.recv(100)
        if not answer:
            raise RuntimeError("the fork server has ended")
        return int(answer)


_clients: list[_Client] = []


def _client() -> _Client:
    if not _clients:
        _clients.append(_Client())
    return _clients[0]


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Answer requests; return only in a program that was forked, with what it shall do."""
    while True:
        data, streams, _, _ = socket.recv_fds(connection, _LARGEST_REQUEST, 3)
        if not data:
            sys.exit()
        number_out, number_in = os.pipe()
        between = os.fork()
        if not between:
            between = os.getpid()
            if child := os.fork():
                os.write(number_in, b"%d" % child)
                os._exit(0)  # the child is the test's from then on
            while os.getppid() == between:
                time.sleep(0.001)
            connection.detach()  # its descriptor will be another file's
            _settle(json.loads(data), streams)
            return dict(json.loads(data))
        os.waitpid(between, 0)
        connection.send(os.read(number_out, 100))
        for descriptor in (number_out, number_in, *streams):
            os.close(descriptor)


def _settle(request: dict[str, Any], streams: list[int]) -> None:
    """Make this process look as if it had just been started."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _opened(number, getattr(sys, name)))
    for sign in _SIGNALS:
        usual = signal.default_int_handler if sign == signal.SIGINT else signal.SIG_DFL
        signal.signal(sign, signal.SIG_IGN if sign in request["ignored"] else usual)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    gc.enable()


def _opened(number: int, like: io.TextIOWrapper) -> io.TextIOWrapper:
    """Open a standard stream as an interpreter does when it starts."""
    mode = "w" if number else "r"
    file: Any = io.FileIO(number, mode, closefd=False)
    file.name = like.name
    if not (number and like.write_through):  # that is python -u
        file = io.BufferedWriter(file) if number else io.BufferedReader(file)
    stream: Any = io.TextIOWrapper(
        file,
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=not like.write_through and (number == 2 or os.isatty(number)),
        write_through=like.write_through,
    )
    stream.mode = mode
    return cast("io.TextIOWrapper", stream)


def _main() -> None:
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the test
    connection = socket.socket(fileno=int(sys.argv[1]))
    for package in ("exporter", "tests.store.ledgers"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(getattr(found, "__path__", []), f"{package}."):
            if not module.name.endswith("__main__"):
                with suppress(ImportError):  # an extra that is not installed
                    importlib.import_module(module.name)
    gc.freeze()
    request = _serve(connection)
    kind, what, *_ = words = request["arguments"]
    sys.path[0] = request["folder"] if kind == "-m" else ""
    if kind == "-m":
        sys.argv = words[1:]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *words[2:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), sys.modules["__main__"].__dict__)


if __name__ == "__main__":
    _main()
