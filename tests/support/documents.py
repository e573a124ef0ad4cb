"""A service with only the example responses of the provider's documentation."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "fixtures" / "api"

PERIOD_HISTORY_JOB = "f9d6c8466d614a9788e9a0acf6c15f46"
RECORD_INFO_JOB = "68491d9bc97b4774adb93e29b46d2dc6"
RECYCLED_JOB = "c798139500d2456d82d95d108f182b5a"

DELETED = 403, b'{"error_code": "CB.00031059", "error_msg": "The build history has been deleted."}'


def example(name: str) -> bytes:
    return (EXAMPLES / f"{name}.json").read_bytes()


def history(*records: Mapping[str, Any]) -> bytes:
    return json.dumps({"total": len(records), "history_records": records}).encode()


@contextmanager
def serving(answers: Mapping[str, bytes]) -> Iterator[str]:
    """Start a server with a response for each path, which may change later; the value is its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            matching = [body for pattern, body in answers.items() if re.fullmatch(pattern, path)]
            status, body = (200, matching[0]) if matching else DELETED
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
