"""One request over the wire: connections are kept, and an answer is bounded in size and in time.

`requests` bounds only the silence between two pieces of an answer: a service that drips, or a proxy, could
hold a thread for hours. Here the whole of an answer, from the first byte of its head to the last of its body,
may take three times as long as one silence.
"""

import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ContentDecodingError
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from exporter import __version__
from exporter.errors import InvalidAnswerError, Obstacle, UnreachableError
from exporter.redaction import redact, register_url

USER_AGENT: Final = f"codearts-build-exporter/{__version__}"

LARGEST_ANSWER: Final = 32 * 1024 * 1024

_PROXY_FORM: Final = (
    "is no proxy of the form http://[user:password@]host:port; percent-encode what is not plain ASCII, and "
    "# / ? @ % in the password"
)

_SILENCES: Final = 3

_USUAL_SILENCE_S: Final = 10.0

_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer.

    Attributes:
        headers: looked up in any letter case.
        body: decoded.
        came_at: when its head had come, seconds since the epoch by our clock.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    came_at: float


def new_session(ca_file: str | None = None, connections: int = 8) -> requests.Session:
    """A session that keeps connections, names us, keeps no cookies, and trusts ``ca_file`` if there is one.

    The usual proxy variables (``HTTPS_PROXY``, ``NO_PROXY``, …) hold.
    """
    session = requests.Session()
    for proxy in getproxies().values():
        register_url(proxy)
    session.headers["User-Agent"] = USER_AGENT
    session.headers["Accept"] = "application/json"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    if ca_file:
        session.verify = ca_file
    adapter = _Adapter(pool_maxsize=connections, pool_connections=4)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def prepare(session: requests.Session, request: requests.Request) -> requests.PreparedRequest:
    """Make a request ready to be sent, authorized by its authenticator.

    Raises:
        UnreachableError: its URL leads nowhere.
        ApiError: the authenticator has none to offer.
    """
    try:
        return session.prepare_request(request)
    except requests.RequestException as error:
        raise _misconfigured(request.url or "", {}, error) from None


def exchange(
    session: requests.Session,
    prepared: requests.PreparedRequest,
    *,
    timeout: float,
    largest: int = LARGEST_ANSWER,
    wall: Callable[[], float] = time.time,
) -> Answer:
    """Send a request and read all of its answer, whatever its status; redirects are not followed.

    Args:
        session: from `new_session`; its settings and those of the environment count.
        prepared: the request.
        timeout: seconds to connect, and between two pieces of the answer.
        largest: bytes of the decoded body.
        wall: our clock, seconds since the epoch.

    Raises:
        UnreachableError: no whole answer came; the text holds nothing the service said.
        InvalidAnswerError: the body is larger, or cannot be decoded.
    """
    proxies: dict[str, str] = {}
    try:
        # A CA file of our own goes before REQUESTS_CA_BUNDLE, which is why `verify` is named here.
        settings = session.merge_environment_settings(prepared.url, {}, True, session.verify, None)
        proxies = dict(settings["proxies"])
        # The adapter, not session.send: that one reads the body of a redirect to its end, followed or not.
        adapter = session.get_adapter(prepared.url or "")
        verify = True if settings["verify"] is None else settings["verify"]
        with adapter.send(
            prepared,
            stream=True,
            timeout=timeout,
            verify=verify,
            cert=settings["cert"],
            proxies=proxies,
        ) as response:
            came_at = wall()
            body = _read(response, largest)
            return Answer(response.status_code, response.headers, body, came_at)
    except ContentDecodingError:
        raise InvalidAnswerError("an answer that cannot be decoded", code="invalid") from None
    except (ValueError, TypeError) as error:  # requests refuses to send it
        raise _misconfigured(prepared.url or "", proxies, error) from None
    except (OSError, HTTPError, http.client.HTTPException) as error:
        if type(error) is OSError and error.errno is None and not isinstance(session.verify, str):
            raise _misconfigured(prepared.url or "", {}, error) from None
        raise _unreachable(error) from None


def proxy_variable(url: str, proxy: str) -> str:
    """The environment variable that names the proxy of an address."""
    names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
    known = (spelt for name in names for spelt in (name, name.upper()) if os.environ.get(spelt) == proxy)
    return next(known, "the system's proxy setting")


def _read(response: requests.Response, largest: int) -> bytes:
    body = bytearray()
    for piece in response.iter_content(_CHUNK):
        body += piece
        if len(body) > largest:
            raise InvalidAnswerError(f"an answer of more than {largest // 1024} KiB", code="invalid")
    return bytes(body)


def _misconfigured(url: str, proxies: Mapping[str, str], error: Exception) -> UnreachableError:
    """A request that requests itself refuses to send: a proxy or a file of certificates is set wrongly.

    Nothing of a proxy is repeated, since it may hold a password.
    """
    proxy = select_proxy(url, dict(proxies)) if proxies else None
    if proxy:
        socks = proxy.lower().startswith("socks") and isinstance(error, requests.exceptions.InvalidSchema)
        needs = "a SOCKS proxy needs the package PySocks, which is not installed" if socks else _PROXY_FORM
        text = f"{proxy_variable(url, proxy)}: {needs}"
    elif isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        text = f"{next(filter(os.environ.get, ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE')), 'ca_file')}: {error}"
    else:
        text = f"no address that a request can be sent to ({type(error).__name__})"
    refused = UnreachableError(text, code="connection", obstacle=Obstacle.SETTING)
    refused.retryable = False
    return refused


def _unreachable(error: Exception) -> UnreachableError:
    innermost: BaseException = error
    while cause := innermost.__cause__ or innermost.__context__:
        innermost = cause
    late = isinstance(error, requests.Timeout) or isinstance(innermost, TimeoutError)
    return UnreachableError(
        _brief(error, innermost),
        code="timeout" if late else "connection",
        obstacle=Obstacle.TIMEOUT if late else _obstacle(error, innermost),
    )


def _obstacle(error: Exception, innermost: BaseException) -> Obstacle:
    if isinstance(error, requests.exceptions.ProxyError):
        return Obstacle.PROXY
    if isinstance(innermost, ssl.SSLCertVerificationError):
        return Obstacle.UNTRUSTED
    if isinstance(error, requests.exceptions.SSLError) or isinstance(innermost, ssl.SSLError):
        return Obstacle.TLS
    if isinstance(innermost, socket.gaierror):
        return Obstacle.UNKNOWN_HOST
    return Obstacle.REFUSED if isinstance(innermost, ConnectionRefusedError) else Obstacle.BROKEN


def _brief(error: Exception, innermost: BaseException) -> str:
    """What went wrong in a line; in words only where they are this machine's own."""
    own = isinstance(innermost, OSError) and not isinstance(innermost, requests.RequestException)
    what = str(innermost) if own else type(innermost).__name__
    return redact(f"{type(error).__name__}: {what}").split("\n", maxsplit=1)[0][:200]


class _TimedStream(io.RawIOBase):
    """What comes from a socket, until the answer has had its time."""

    def __init__(self, stream: io.RawIOBase, connection: socket.socket) -> None:
        self._stream = stream
        self._connection = connection
        self._silence = connection.gettimeout() or _USUAL_SILENCE_S
        self._deadline = time.monotonic() + _SILENCES * self._silence

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer came too slowly")
        self._connection.settimeout(min(self._silence, left))
        read: int | None = self._stream.readinto(buffer)
        return read

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """Head and body of an answer; of a proxy's answer to CONNECT, too."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedStream(self.fp.detach(), sock))


class _Connection(HTTPConnection):
    response_class = _TimedResponse


class _TlsConnection(HTTPSConnection):
    response_class = _TimedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Takes its connections from pools of timed ones, directly or by way of a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_timed_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        if isinstance(manager, ProxyManager):  # one for SOCKS has connections of its own
            _use_timed_connections(manager)
        return manager


def _use_timed_connections(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
