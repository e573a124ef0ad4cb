"""Sends samples with Prometheus's remote write protocol, version 1.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and prompb/remote.proto, prompb/types.proto.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import cramjam
import requests
from prometheus_client.parser import text_string_to_metric_families
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from requests.utils import get_auth_from_url

from exporter.backfill.fetch_with_retries import Notices
from exporter.backfill.openmetrics import Points
from exporter.errors import BackfillError, ConfigError
from exporter.exposition.protobuf import time_series
from exporter.redaction import clean

_SAMPLES: Final = 10_000
"""Approximate number of samples in a request."""

_PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 60.0, 60.0)
_TIMEOUT_S: Final = 60.0
_MESSAGE_LENGTH: Final = 300
_BODY_BYTES: Final = 4096
"""Limit on what is read of a response."""
_TOO_OLD: Final = ("out of bounds", "out of order", "too old")
_NO_REPLY: Final = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError, ContentDecodingError)
"""Errors without a complete response; the samples may have arrived all the same, and are sent again."""


class RemoteWrite:
    """A remote write receiver at a URL, which may contain a user and a password.

    Raises:
        ConfigError: the address or a header is invalid.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        session: requests.Session,
        notices: Notices,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._url = url
        self._session = session
        self._notices = notices
        self._sleep = sleep
        self._headers = {
            **headers,
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "User-Agent": "codearts-build-exporter",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        if not url.startswith(("http://", "https://")):
            raise ConfigError("remote write: the address must begin with http:// or https://")
        try:
            # Flags override ~/.netrc, and a header overrides the user in the URL.
            user = get_auth_from_url(url)
            self._auth: Any = user if any(user) else None
            if any(name.lower() == "authorization" for name in headers):
                self._auth = lambda request: request
            session.prepare_request(requests.Request("POST", url, headers=self._headers))
            "".join(headers.values()).encode("latin-1")
        except (ValueError, requests.RequestException) as error:
            raise ConfigError(f"remote write: {type(error).__name__}: invalid address or header") from None

    def send_all(self, metrics: Iterable[Iterable[Points]]) -> None:
        """Send samples in requests of limited size; raises as `send` does."""
        for body in bodies(metrics):
            self.send(body)

    def send(self, body: bytes) -> None:
        """Send one request; retry while the receiver is unavailable.

        Raises:
            BackfillError: it was refused, or the last retry failed.
        """
        for pause_s in (*_PAUSES_S, None):
            try:
                status, text = self._post(body)
            except _NO_REPLY as error:
                status, text = 0, type(error).__name__
            if 200 <= status < 300:
                return
            outcome = f"HTTP {status}" if status else "no answer"
            reason = clean(" ".join(text.split()))[:_MESSAGE_LENGTH]
            if any(words in text for words in _TOO_OLD):
                reason += "; Prometheus needs storage.tsdb.out_of_order_time_window to reach back to --start"
            if (0 < status < 500 and status != 429) or pause_s is None:
                raise BackfillError(f"remote write: {outcome}: {reason}")
            self._notices.problem(
                "remote write", f"remote write: {outcome} ({reason}): retrying in {pause_s:g} s"
            )
            self._sleep(pause_s)

    def _post(self, body: bytes) -> tuple[int, str]:
        """Return the status and the beginning of the text; the rest is not read."""
        with self._session.post(
            self._url,
            data=body,
            headers=self._headers,
            auth=self._auth,
            timeout=_TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        ) as response:
            text = b""
            for piece in response.iter_content(_BODY_BYTES):
                text += piece
                if len(text) >= _BODY_BYTES:
                    break
            return response.status_code, text[:_BODY_BYTES].decode("utf-8", "replace")


def bodies(metrics: Iterable[Iterable[Points]]) -> Iterator[bytes]:
    """Compressed bodies of write requests; each series ascends in time across them."""
    series: list[bytes] = []
    samples = 0
    for metric in metrics:
        for points in metric:
            added = list(_series(points))
            series += added
            samples += len(added) * len(points.times_ms)
        if samples >= _SAMPLES:
            yield _compressed(series)
            series, samples = [], 0
    if samples:
        yield _compressed(series)


def _series(points: Points) -> Iterator[bytes]:
    times_ms = [time_ms // 1000 * 1000 for time_ms in points.times_ms]
    for family in text_string_to_metric_families(points.lines):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if value}
            yield time_series({"__name__": sample.name, **labels}, sample.value, times_ms)


def _compressed(series: Iterable[bytes]) -> bytes:
    return bytes(cramjam.snappy.compress_raw(b"".join(series)))
