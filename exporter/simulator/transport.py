"""Faults of a whole answer: what comes in its place, and how it travels."""

import json
import threading

from exporter.simulator.answer import Answer, error_answer, html_answer
from exporter.simulator.clock import Clock
from exporter.simulator.faults import Fault, Faults

WINDOW_MS = 60_000


class Limiter:
    """Counts requests in fixed windows of a minute for each fault ``rate-limit``.

    Requests that are refused count too, as they do at the gateway.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[int, tuple[Fault, int, int]] = {}
        self._lock = threading.Lock()

    def refuse(self, fault: Fault) -> float | None:
        """Seconds until the next window if this request is one too many, else None."""
        now_ms = self._clock.now_ms()
        with self._lock:
            _, began_ms, count = self._windows.get(id(fault), (fault, now_ms, 0))
            if now_ms - began_ms >= WINDOW_MS:
                began_ms, count = now_ms, 0
            self._windows[id(fault)] = (fault, began_ms, count + 1)
        return (began_ms + WINDOW_MS - now_ms) / 1000 if count >= fault.number("per_minute") else None


def instead(faults: Faults, limiter: Limiter, operation: str, job: str | None) -> Answer | None:
    """The answer that comes in place of the one asked for; None if none does."""
    if struck := faults.fire("rate-limit", operation, job):
        wait_s = limiter.refuse(struck)
        if wait_s is not None:
            retry_after = max(1, round(wait_s)) if struck.options["retry_after"] else None
            return _throttled(struck, "APIGW.0308", retry_after, round(struck.number("per_minute")))
    if struck := faults.fire("throttle", operation, job):
        return _throttled(struck, struck.text("code"), struck.options["retry_after"], 50)
    if faults.fire("unauthorized", operation, job):
        message = "Incorrect IAM authentication information: decrypt token fail"
        return error_answer(401, "APIGW.0301", message)
    if struck := faults.fire("error", operation, job):
        status = round(struck.number("status"))
        return error_answer(status, struck.text("code"), struck.text("message"), struck.text("shape"))
    if struck := faults.fire("html", operation, job):
        return html_answer(round(struck.number("status")))
    if struck := faults.fire("body", operation, job):
        content = struck.text("text").encode()
        return Answer(round(struck.number("status")), content, struck.text("content_type"))
    return None


def send_off(answer: Answer, faults: Faults, operation: str, job: str | None) -> Answer:
    """Gives an answer its troubles on the way."""
    if faults.fire("json-string", operation, job):
        answer.body = json.dumps(answer.body.decode()).encode()
    for kind in ("hang", "delay"):
        if struck := faults.fire(kind, operation, job):
            answer.delay_s += struck.number("seconds")
    if struck := faults.fire("slow-drip", operation, job):
        answer.bytes_per_second = struck.number("bytes_per_second")
    if struck := faults.fire("date-skew", operation, job):
        answer.date_skew_s = struck.number("seconds")
    if struck := faults.fire("truncated", operation, job):
        answer.keep = struck.number("keep")
    if struck := faults.fire("reset", operation, job):
        answer.keep, answer.reset = struck.number("keep"), True
    return answer


def _throttled(struck: Fault, code: str, retry_after: object, limit: int) -> Answer:
    policy = "policy user over ratelimit"
    message = f"The throttling threshold has been reached: {policy}"
    if struck.options["announce"]:
        message += f",limit:{limit},time:1 minute"
    answer = error_answer(round(struck.number("status")), code, message)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer
