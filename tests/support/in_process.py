"""Requests to a simulator of this process without a socket, which takes half of the time."""

from email.utils import formatdate
from io import BytesIO
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from exporter.simulator import Simulator
from exporter.simulator.exchange import Request

ON_THE_WIRE: Final = frozenset(("delay", "hang", "reset", "slow-drip", "truncated"))
"""Faults that only a socket can show."""


class InProcess(BaseAdapter):
    """Calls the simulator directly while it runs and has no fault of the wire; else uses the wire.

    Args:
        simulator: answers.
        wire: sends what needs a socket.
    """

    def __init__(self, simulator: Simulator, wire: BaseAdapter) -> None:
        super().__init__()
        self._simulator = simulator
        self._wire = wire

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Answer one request."""
        simulator, url = self._simulator, urlsplit(request.url or "")
        wired = any(fault.kind in ON_THE_WIRE for fault in simulator.faults.active())
        if simulator._server is None or url.port != simulator.port or wired:
            return self._wire.send(request, *args, **kwargs)
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.body or b""
        target = f"{url.path}?{url.query}" if url.query else url.path
        answer = simulator._respond(
            Request(
                str(request.method),
                target,
                {"host": url.netloc, **headers},
                body.encode() if isinstance(body, str) else body,
            )
        )
        response = requests.Response()
        response.status_code = answer.status
        date_s = simulator.caller_clock.now_ms() / 1000 + answer.date_skew_s
        response.headers = CaseInsensitiveDict(
            {
                "Date": formatdate(date_s, usegmt=True),
                "Content-Type": answer.content_type,
                "Content-Length": str(len(answer.body)),
                **answer.headers,
            }
        )
        response.raw = BytesIO(answer.body)
        response.url, response.request = request.url or "", request
        return response

    def close(self) -> None:
        """Let go of the connections of the wire."""
        self._wire.close()


def answer_in_process(session: requests.Session, simulator: Simulator) -> None:
    """Make a session ask a simulator without a socket; the environment sets no proxy for it either."""
    session.trust_env = False
    session.mount("http://", InProcess(simulator, session.get_adapter("http://")))
