"""Sends samples to whatever speaks Prometheus's remote write, version 1.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and prompb/remote.proto, prompb/types.proto.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import cramjam
import requests
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from prometheus_client.parser import text_string_to_metric_families
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from requests.utils import get_auth_from_url

from exporter.backfill.openmetrics import PastFamily, Points
from exporter.backfill.replay import Replay
from exporter.backfill.retry import Notices
from exporter.errors import BackfillError
from exporter.redaction import clean

_SAMPLES: Final = 10_000
"""About so many samples go into a request."""

_PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 60.0, 60.0)
_TIMEOUT_S: Final = 60.0
_MESSAGE_LENGTH: Final = 300
_ANSWER_BYTES: Final = 4096
"""What is read of an answer."""
_TOO_OLD: Final = ("out of bounds", "out of order", "too old")
_BROKEN: Final = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError, ContentDecodingError)
"""What no whole answer comes out as; samples that arrived all the same may come again."""

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_FIELDS: Final = {
    "Label": (("name", 1, _FIELD.TYPE_STRING, ""), ("value", 2, _FIELD.TYPE_STRING, "")),
    "Sample": (("value", 1, _FIELD.TYPE_DOUBLE, ""), ("timestamp", 2, _FIELD.TYPE_INT64, "")),
    "TimeSeries": (
        ("labels", 1, _FIELD.TYPE_MESSAGE, "Label"),
        ("samples", 2, _FIELD.TYPE_MESSAGE, "Sample"),
    ),
    "WriteRequest": (("timeseries", 1, _FIELD.TYPE_MESSAGE, "TimeSeries"),),
}
"""The messages as far as they are sent: name, number, type, and the message that the field holds many of."""


def _write_request() -> Callable[[], Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="prometheus/write.proto", package="prometheus", syntax="proto3"
    )
    for message, fields in _FIELDS.items():
        declared = file.message_type.add(name=message)
        for name, number, kind, held in fields:
            field = declared.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
            if held:
                field.label = _FIELD.LABEL_REPEATED
                field.type_name = f".prometheus.{held}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))


_WriteRequest: Final = _write_request()


def bodies(metrics: Iterable[Iterable[Points]]) -> Iterator[bytes]:
    """Compressed bodies of write requests; each series ascends in time across them."""
    request = _WriteRequest()
    samples = 0
    for metric in metrics:
        for points in metric:
            samples += _add(request, points)
        if samples >= _SAMPLES:
            yield _compressed(request)
            request, samples = _WriteRequest(), 0
    if samples:
        yield _compressed(request)


def _add(request: Any, points: Points) -> int:
    added = 0
    for family in text_string_to_metric_families(points.lines):
        for sample in family.samples:
            series = request.timeseries.add()
            for name, value in sorted({"__name__": sample.name, **sample.labels}.items()):
                if value:
                    series.labels.add(name=name, value=value)
            for moment in points.moments:
                series.samples.add(value=sample.value, timestamp=moment // 1000 * 1000)
            added += len(points.moments)
    return added


def _compressed(request: Any) -> bytes:
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


class RemoteWrite:
    """Where samples are sent.

    Args:
        url: as ``http://localhost:9090/api/v1/write``; may hold a user and a password.
        headers: sent with each request, besides those of the protocol.
        session: carries the requests.
        notices: are told of what is waited for.
        sleep: waits between tries.

    Raises:
        BackfillError: the address or a header can be none.
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
            raise BackfillError("remote write: the address must begin with http:// or https://")
        try:
            # What was given on the command line goes before ~/.netrc, a header before the user in the URL.
            user = get_auth_from_url(url)
            self._auth: Any = user if any(user) else None
            if any(name.lower() == "authorization" for name in headers):
                self._auth = _as_given
            session.prepare_request(requests.Request("POST", url, headers=self._headers))
            "".join(headers.values()).encode("latin-1")
        except (ValueError, requests.RequestException) as error:
            raise BackfillError(f"remote write: {type(error).__name__}: not an address or a header") from None

    def send(self, body: bytes) -> None:
        """Send one request, again and again while the receiver is in trouble.

        Raises:
            BackfillError: it was refused, or the trouble did not end.
        """
        for pause_s in (*_PAUSES_S, None):
            try:
                status, told = self._post(body)
            except _BROKEN as error:
                status, told = 0, type(error).__name__
            if 200 <= status < 300:
                return
            said = f"HTTP {status}" if status else "no answer"
            why = clean(" ".join(told.split()))[:_MESSAGE_LENGTH]
            if any(words in told for words in _TOO_OLD):
                why += "; Prometheus needs storage.tsdb.out_of_order_time_window to reach back to --start"
            if (0 < status < 500 and status != 429) or pause_s is None:
                raise BackfillError(f"remote write: {said}: {why}")
            self._notices.trouble(
                "remote write", f"remote write: {said} ({why}): trying again in {pause_s:g} s"
            )
            self._sleep(pause_s)

    def _post(self, body: bytes) -> tuple[int, str]:
        """The status of the answer, and the beginning of its text; the rest is left unread."""
        with self._session.post(
            self._url,
            data=body,
            headers=self._headers,
            auth=self._auth,
            timeout=_TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        ) as answer:
            told = b""
            for piece in answer.iter_content(_ANSWER_BYTES):
                told += piece
                if len(told) >= _ANSWER_BYTES:
                    break
            return answer.status_code, told[:_ANSWER_BYTES].decode("utf-8", "replace")


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave the Authorization header alone."""
    return request


def send_all(
    replay: Replay,
    chunks: Iterable[tuple[int, int]],
    families: Sequence[PastFamily],
    receiver: RemoteWrite,
    sent_before_ms: int,
) -> Iterator[int]:
    """Send one stretch of time after the other, but those that were sent before; up to when it is done.

    Raises:
        BackfillError: the receiver does not take it.
    """
    for _, before_ms in chunks:
        jobs = replay.until(before_ms)
        if before_ms > sent_before_ms:
            for body in bodies(
                metric for family in families for stretches in jobs for metric in family.metrics(stretches)
            ):
                receiver.send(body)
        yield before_ms
