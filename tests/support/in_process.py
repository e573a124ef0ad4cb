"""Requests to a simulator in this process without a socket, which halves their time."""

from email.utils import formatdate
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from exporter.simulator import Simulator
from exporter.simulator.api import route
from exporter.simulator.exchange import Request

SOCKET_FAULTS: Final = frozenset(("delay", "hang", "reset", "slow-drip", "truncated"))
"""Faults that need a socket."""


class InProcess(BaseAdapter):
    """Calls a running simulator directly, unless a fault of the request needs a socket.

    Args:
        simulator: the simulator to call.
        wire: adapter for requests that need a socket.
    """

    def __init__(self, simulator: Simulator, wire: BaseAdapter) -> None:
        super().__init__()
        self._simulator = simulator
        self._wire = wire

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request and return its response."""
        simulator, url = self._simulator, request.url or ""
        host, slash, path = url.partition("://")[2].partition("/")
        if simulator._server is None or not host.endswith(f":{simulator.port}"):
            return self._wire.send(request, *args, **kwargs)
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.body or b""
        received = Request(
            str(request.method),
            slash + path,
            {"host": host, **headers},
            body.encode() if isinstance(body, str) else body,
        )
        if self._needs_socket(received):
            return self._wire.send(request, *args, **kwargs)
        answer = simulator._respond(received)
        response = requests.Response()
        response.status_code = answer.status
        date_s = simulator.caller_clock.now_ms() / 1000 + answer.date_skew_s
        response.headers = CaseInsensitiveDict(
            {
                "Date": _date(date_s),
                "Content-Type": answer.content_type,
                "Content-Length": str(len(answer.body)),
                **answer.headers,
            }
        )
        response.raw = BytesIO(answer.body)
        response.url, response.request = url, request
        return response

    def _needs_socket(self, request: Request) -> bool:
        faults = [each for each in self._simulator.faults.active() if each.kind in SOCKET_FAULTS]
        call = route(request, self._simulator.fleet) if faults else None
        return any(each.matches(call.operation, call.job) for each in faults) if call else False

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()


@lru_cache(maxsize=16)  # a manual clock stands still for many requests
def _date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def answer_in_process(session: requests.Session, simulator: Simulator) -> None:
    """Make a session call a simulator without a socket, and without proxies from the environment."""
    session.trust_env = False
    settings = {"proxies": {}, "verify": True, "cert": None}  # always; requests is slow to find that out
    session.merge_environment_settings = lambda *_: settings  # type: ignore[method-assign, assignment]
    session.mount("http://", InProcess(simulator, session.get_adapter("http://")))
