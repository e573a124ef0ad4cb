"""IAM, the metadata service of a machine, and an API that checks credentials, on one port."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

API_PATH = "/v1/job/recycling-jobs"
LOGIN_PATH = "/v3/auth/tokens"
METADATA_TOKEN_PATH = "/meta-data/latest/api/token"
KEYS_PATH = "/openstack/latest/securitykey"


class Clock:
    """A clock that moves only with `advance`."""

    def __init__(self, now: float = 1_767_323_045.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Reply:
    """A response that replaces the usual one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    endless: bool = False


@dataclass
class Request:
    """A received request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Cloud:
    """The server; tests change which credentials it accepts and how it responds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.requests: list[Request] = []
        self.replies: dict[str, deque[Reply]] = {}
        self.always: dict[str, Reply] = {}
        self.password = "correct horse"
        self.token_lifetime_s = 24 * 3600.0
        self.sends_issued_at = True
        self.tokens: set[str] = set()
        self.secret_keys: dict[str, tuple[str, str]] = {}
        self.keys: dict[str, str] | None = None
        self.metadata_tokens: set[str] = set()
        self.hold = threading.Event()
        self.hold.set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"cloud": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def count(self, path: str) -> int:
        return sum(request.path == path for request in self.requests)

    def issue_keys(self, name: str, lifetime_s: float) -> None:
        """Issue temporary keys, as of an agency, and accept them from now on."""
        self.keys = {
            "access": f"ACCESS-{name}",
            "secret": f"secret-{name}",
            "securitytoken": f"security-token-{name}",
            "expires_at": _iso(self.clock() + lifetime_s),
        }
        self.secret_keys[f"ACCESS-{name}"] = (f"secret-{name}", f"security-token-{name}")

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            waiting = self.replies.get(request.path)
            special = waiting.popleft() if waiting else self.always.get(request.path)
        self.hold.wait(10)
        if special:
            return special
        if request.path == LOGIN_PATH:
            return self._login(request)
        if request.path == METADATA_TOKEN_PATH:
            return self._metadata_token(request)
        if request.path == KEYS_PATH:
            return self._keys(request)
        return (
            Reply(200, body=b"{}")
            if self._knows(request)
            else Reply(401, body=b'{"error_code":"APIGW.0301"}')
        )

    def _login(self, request: Request) -> Reply:
        user = json.loads(request.body)["auth"]["identity"]["password"]["user"]
        if user["password"] != self.password:
            text = f"the password {user['password']} of {user['name']} is wrong"
            return Reply(401, body=json.dumps({"error": {"code": 401, "message": text}}).encode())
        with self._lock:
            token = f"token-{self.count(LOGIN_PATH)}"
            self.tokens.add(token)
        times = {"expires_at": _iso(self.clock() + self.token_lifetime_s)}
        if self.sends_issued_at:
            times["issued_at"] = _iso(self.clock())
        return Reply(201, {"X-Subject-Token": token}, json.dumps({"token": times}).encode())

    def _metadata_token(self, request: Request) -> Reply:
        if request.method != "PUT" or request.headers.get("x-metadata-token-ttl-seconds") != "21600":
            return Reply(400)
        token = f"metadata-token-{len(self.metadata_tokens)}"
        self.metadata_tokens.add(token)
        return Reply(200, body=token.encode())

    def _keys(self, request: Request) -> Reply:
        if self.metadata_tokens and request.headers.get("x-metadata-token") not in self.metadata_tokens:
            return Reply(401)
        if self.keys is None:
            return Reply(404, body=b"<html>no agency</html>")
        return Reply(200, body=json.dumps({"credential": self.keys}).encode())

    def _knows(self, request: Request) -> bool:
        if request.headers.get("x-auth-token") in self.tokens:
            return True
        authorization = request.headers.get("authorization", "")
        access_key = authorization.partition("Access=")[2].partition(",")[0]
        secret_key, security_token = self.secret_keys.get(access_key, ("", ""))
        return (
            secret_key != ""
            and request.headers.get("x-security-token", "") == security_token
            and authorization == _sdk_authorization(request, access_key, secret_key)
        )


def _sdk_authorization(request: Request, access_key: str, secret_key: str) -> str:
    """Return the header that the official SDK computes for the headers named as signed."""
    signed = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    sdk_request = SdkRequest(
        method=request.method,
        host=request.headers["host"],
        resource_path=request.path,
        query_params=list(parse_qsl(request.query, keep_blank_values=True)),
        header_params={name: request.headers[name] for name in signed.split(";")},
        body=request.body,
    )
    Signer(BasicCredentials(access_key, secret_key)).sign(sdk_request)
    authorization: str = sdk_request.header_params["Authorization"]
    return authorization


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # many threads connect at the same time


class _Handler(BaseHTTPRequestHandler):
    cloud: Cloud

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.cloud.answer(Request(self.command, parts.path, parts.query, headers, body))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        try:
            while reply.endless:
                self.wfile.write(b" " * 65536)
        except OSError:
            pass  # the client has disconnected

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def log_message(self, *_: Any) -> None: ...
