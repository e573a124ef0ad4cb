"""Network test doubles between a client and a service, or instead of it: relay, proxy, raw server."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self


class Wire:
    """A server on a free port with a thread for each connection.

    Attributes:
        connections: number of accepted connections.
        heads: request heads that were read with `read_head`.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.heads: list[str] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        """Handle one connection, which is closed afterwards."""
        raise NotImplementedError

    def read_head(self, connection: socket.socket) -> bytes:
        """Read and record the head of a request, up to the first empty line."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return b""
            head += piece
        with self._lock:
            self.heads.append(head.decode("latin-1"))
        return head

    def join(self, client: socket.socket, port: int, first: bytes = b"") -> None:
        """Copy bytes in both directions between a connection and a local port, until one side closes."""
        with socket.create_connection(("127.0.0.1", port)) as other:
            self._track(other)
            other.sendall(first)
            back = threading.Thread(target=_pump, args=(other, client), daemon=True)
            back.start()
            _pump(client, other)
            back.join()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._track(connection)
            thread = threading.Thread(target=self._handle, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _handle(self, connection: socket.socket) -> None:
        with self._lock:
            self.connections += 1
        with contextlib.suppress(OSError), connection:
            self.serve(connection)

    def _track(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)


class Relay(Wire):
    """A relay to a local port that counts connections, and terminates TLS if it has a certificate."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._target = port
        self._tls = tls
        if tls:
            self.url = self.url.replace("http:", "https:")

    def serve(self, connection: socket.socket) -> None:
        if self._tls is None:
            self.join(connection, self._target)
            return
        with self._tls.wrap_socket(connection, server_side=True) as plain:
            self._track(plain)
            self.join(plain, self._target)


class Proxy(Wire):
    """An HTTP proxy that connects to the same local port for every host, also for CONNECT."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._target = port

    def serve(self, connection: socket.socket) -> None:
        head = self.read_head(connection)
        method, _, rest = head.partition(b" ")
        if method == b"CONNECT":
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.join(connection, self._target)
        elif head:
            _, _, path = rest.partition(b"://")[2].partition(b"/")
            self.join(connection, self._target, method + b" /" + path)


class RawServer(Wire):
    """A server that responds with fixed bytes or those of a function, then closes the connection."""

    def __init__(self, answer: bytes | Callable[[socket.socket, threading.Event], None]) -> None:
        super().__init__()
        self._answer = answer

    def serve(self, connection: socket.socket) -> None:
        if not self.read_head(connection):
            return
        if isinstance(self._answer, bytes):
            connection.sendall(self._answer)
        else:
            self._answer(connection, self.stopping)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
