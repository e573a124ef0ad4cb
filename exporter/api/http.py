"""One HTTP exchange: connections are kept alive, and a response is limited in size and time.

`requests` limits only the silence between two pieces of a response: a service or proxy that sends very slowly
could hold a thread for hours. Here the whole response, from the first byte of its head to the last of its
body, may take three times as long as one silence.
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
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from exporter import __version__
from exporter.errors import InvalidResponseError, Obstacle, UnreachableError
from exporter.redaction import redact, register_url

USER_AGENT: Final = f"codearts-build-exporter/{__version__}"
MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024

_PROXY_FORMAT: Final = (
    "is no proxy of the form http://[user:password@]host:port; percent-encode what is not plain ASCII, and "
    "# / ? @ % in the password"
)

_MAX_SILENCES: Final = 3
_DEFAULT_SILENCE_S: Final = 10.0
_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy from an environment variable; ``address`` excludes user and password."""

    variable: str
    address: str


@dataclass(frozen=True, slots=True)
class Response:
    """One complete response, with case-insensitive headers and a decoded body.

    Its head arrived at ``received_at``, in seconds by the caller's clock.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    received_at: float


def new_session(ca_file: str | None = None, connections: int = 8) -> requests.Session:
    """Make a session that keeps connections but no cookies, and trusts ``ca_file`` if given.

    The usual proxy variables (``HTTPS_PROXY``, ``NO_PROXY``, …) apply.
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


class _CookielessRequest(requests.PreparedRequest):
    """A request without cookies; to find that there are none takes half the time to prepare it."""

    def prepare_cookies(self, cookies: object) -> None:
        """Add nothing."""


def prepare(session: requests.Session, request: requests.Request) -> requests.PreparedRequest:
    """Prepare and authorize a request; an `ApiError` if its URL is invalid or there are no credentials.

    Of the session, only its headers apply, and no netrc file: `session.prepare_request` takes three times as
    long to look for more.
    """
    prepared = _CookielessRequest()
    headers = {**session.headers, **request.headers}
    try:
        prepared.prepare(
            request.method, request.url, headers, params=request.params, auth=request.auth, json=request.json
        )
        return prepared
    except requests.RequestException as error:
        raise _misconfigured(request.url or "", {}, error) from None


def exchange(
    session: requests.Session,
    prepared: requests.PreparedRequest,
    *,
    timeout: float,
    max_bytes: int = MAX_RESPONSE_BYTES,
    clock: Callable[[], float] = time.time,
) -> Response:
    """Send a request and read the whole response, whatever its status; redirects are not followed.

    The settings of the session and of the environment apply. ``timeout`` is in seconds, to connect and
    between two pieces of the response; ``max_bytes`` limits the decoded body.

    Raises:
        UnreachableError: no complete response arrived; the text repeats nothing the service sent.
        InvalidResponseError: the body is larger, or cannot be decoded.
    """
    proxies: dict[str, str] = {}
    try:
        # A configured CA file overrides REQUESTS_CA_BUNDLE, which is why `verify` is passed here.
        settings = session.merge_environment_settings(prepared.url, {}, True, session.verify, None)
        proxies = dict(settings["proxies"])
        verify = True if settings["verify"] is None else settings["verify"]
        # The adapter, not session.send: that one reads the body of a redirect to its end, followed or not.
        adapter = session.get_adapter(prepared.url or "")
        with adapter.send(
            prepared, stream=True, timeout=timeout, verify=verify, cert=settings["cert"], proxies=proxies
        ) as response:
            received_at = clock()
            body = _read(response, max_bytes)
            return Response(response.status_code, response.headers, body, received_at)
    except ContentDecodingError:
        raise InvalidResponseError("a response that cannot be decoded", code="invalid") from None
    except (ValueError, TypeError) as error:  # requests refuses to send it
        raise _misconfigured(prepared.url or "", proxies, error) from None
    except (OSError, HTTPError, http.client.HTTPException) as error:
        if type(error) is OSError and error.errno is None and not isinstance(session.verify, str):
            raise _misconfigured(prepared.url or "", {}, error) from None
        raise _unreachable(prepared.url or "", proxies, error) from None


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL according to the environment."""
    found = select_proxy(url, get_environ_proxies(url))
    return Proxy(_proxy_variable(url, found), _without_user(found)) if found else None


def _without_user(proxy: str) -> str:
    """Return scheme, host and port; nothing of an address that a password makes ambiguous."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(its address cannot be read)"
    if "@" in proxy and "@" not in parts.netloc:  # cut by a character of the password
        return "(its address cannot be read)"
    return f"{parts.scheme}://{parts.hostname or '?'}{port}"


def _proxy_variable(url: str, proxy: str) -> str:
    """Return the environment variable that names the proxy of an address."""
    names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
    spellings = (spelling for name in names for spelling in (name, name.upper()))
    return next((name for name in spellings if os.environ.get(name) == proxy), "the system's proxy setting")


def _read(response: requests.Response, max_bytes: int) -> bytes:
    body = bytearray()
    for piece in response.iter_content(_CHUNK_BYTES):
        body += piece
        if len(body) > max_bytes:
            raise InvalidResponseError(f"a response of more than {max_bytes // 1024} KiB", code="invalid")
    return bytes(body)


def _misconfigured(url: str, proxies: Mapping[str, str], error: Exception) -> UnreachableError:
    """Explain why requests refuses to send: an invalid proxy, certificate file or URL.

    The proxy is not repeated, since it may hold a password.
    """
    proxy = select_proxy(url, dict(proxies)) if proxies else None
    if proxy:
        socks = proxy.lower().startswith("socks") and isinstance(error, requests.exceptions.InvalidSchema)
        hint = "a SOCKS proxy needs the package PySocks, which is not installed" if socks else _PROXY_FORMAT
        text = f"{_proxy_variable(url, proxy)}: {hint}"
    elif isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        text = f"{next(filter(os.environ.get, ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE')), 'ca_file')}: {error}"
    else:
        text = f"not an address that a request can be sent to ({type(error).__name__})"
    unreachable = UnreachableError(text, code="connection", obstacle=Obstacle.SETTING)
    unreachable.retryable = False
    return unreachable


def _unreachable(url: str, proxies: Mapping[str, str], error: Exception) -> UnreachableError:
    """Explain why no response arrived; an error of a proxy names the variable that it comes from."""
    innermost: BaseException = error
    while cause := innermost.__cause__ or innermost.__context__:
        innermost = cause
    # Only this machine's own errors are quoted; other texts may repeat what the service sent.
    is_local = isinstance(innermost, OSError) and not isinstance(innermost, requests.RequestException)
    reason = str(innermost) if is_local else type(innermost).__name__
    text = redact(f"{type(error).__name__}: {reason}").split("\n", maxsplit=1)[0][:200]
    obstacle = _obstacle(error, innermost)
    if obstacle in (Obstacle.PROXY, Obstacle.PROXY_REFUSED) and (proxy := select_proxy(url, dict(proxies))):
        text = f"{_proxy_variable(url, proxy)}: {text}"
    code = "timeout" if obstacle is Obstacle.TIMEOUT else "connection"
    return UnreachableError(text, code=code, obstacle=obstacle)


def _obstacle(error: Exception, innermost: BaseException) -> Obstacle:
    if isinstance(error, requests.Timeout) or isinstance(innermost, TimeoutError):
        return Obstacle.TIMEOUT
    if isinstance(error, requests.exceptions.ProxyError):
        is_reached = getattr(innermost, "errno", None) is None
        return Obstacle.PROXY_REFUSED if is_reached else Obstacle.PROXY
    if isinstance(innermost, ssl.SSLCertVerificationError):
        return Obstacle.UNTRUSTED
    if isinstance(error, requests.exceptions.SSLError) or isinstance(innermost, ssl.SSLError):
        return Obstacle.TLS
    if isinstance(innermost, socket.gaierror):
        return Obstacle.UNKNOWN_HOST
    return Obstacle.REFUSED if isinstance(innermost, ConnectionRefusedError) else Obstacle.BROKEN


class _TimedStream(io.RawIOBase):
    """The stream of a socket, with a deadline for the whole response."""

    def __init__(self, stream: io.RawIOBase, connection: socket.socket) -> None:
        self._stream = stream
        self._connection = connection
        self._silence_s = connection.gettimeout() or _DEFAULT_SILENCE_S
        self._deadline = time.monotonic() + _MAX_SILENCES * self._silence_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("the response took too long")
        self._connection.settimeout(min(self._silence_s, remaining_s))
        size: int | None = self._stream.readinto(buffer)
        return size

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """Head and body of a response, or of a proxy's response to CONNECT."""

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
    """Uses connections with a deadline, directly or through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_timed_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        if isinstance(manager, ProxyManager):  # SOCKS proxies have their own connections
            _use_timed_connections(manager)
        return manager


def _use_timed_connections(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
