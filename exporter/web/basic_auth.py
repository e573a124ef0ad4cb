"""HTTP basic authentication against bcrypt hashes, with as few comparisons as possible."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

import bcrypt
from cachetools import LRUCache
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool

from exporter.web.fair_queue import FairQueue

Comparison = Callable[[bytes, bytes], bool]
"""Compares a password with a hash; slow."""

_WRONG_KEPT: Final = 256
"""Wrong passwords that are remembered; one in a scrape configuration costs a single comparison."""

_MAX_WAITING_PER_ADDRESS: Final = 16

_MAX_WAITING: Final = 64
"""At 0.1 s for each comparison, the last request of an address waits for two seconds."""

_BCRYPT_BYTES: Final = 72


def compare(password: bytes, hashed: bytes) -> bool:
    """Return whether a password matches a bcrypt hash; bytes after the first 72 are ignored, as in Go."""
    try:
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed)
    except ValueError:
        return False


class BasicAuth:
    """Checks user names and passwords against the hashes of the web configuration.

    Comparisons run one at a time on a thread, behind a `FairQueue`, so that an address that tries a hundred
    passwords delays mostly itself. An unknown name is compared too, with the hash of some user, so that it
    takes as long as a known one.

    Results are kept under an HMAC with a random key, never under the password: the right password of each
    user, which wrong ones cannot evict, and the latest wrong ones. The hash is part of what is signed, so a
    result is valid until the hash changes, whatever else changes in the configuration.

    Args:
        comparison: is called on a thread.
    """

    def __init__(self, comparison: Comparison = compare) -> None:
        self._compare = comparison
        self._secret = secrets.token_bytes(32)
        self._right: dict[bytes, bytes] = {}
        self._wrong: LRUCache[bytes, bool] = LRUCache(maxsize=_WRONG_KEPT)
        self._queue = FairQueue(_MAX_WAITING_PER_ADDRESS, _MAX_WAITING)

    async def check(
        self,
        users: Mapping[bytes, SecretStr],
        authorization: bytes,
        address: str,
        is_disconnected: Callable[[], bool],
    ) -> HTTPStatus:
        """Return OK if a request may be answered, otherwise the status to refuse it with.

        ``users`` are hashes by user name, at least one; ``authorization`` is the header's value, or empty.
        """
        credentials = _parse(authorization)
        if credentials is None:
            return HTTPStatus.UNAUTHORIZED
        name, password = credentials
        hashed = self._hash_for(name, users)
        key = self._hmac(name, hashed, password)
        if (known := self._known(name, key, users)) is not None:
            return known
        refusal = await self._queue.acquire(address, is_disconnected)
        if refusal is not None:
            return refusal
        try:
            if (known := self._known(name, key, users)) is not None:
                return known
            if await run_in_threadpool(self._compare, password, hashed) and name in users:
                self._right[name] = key
                return HTTPStatus.OK
            self._wrong[key] = True
            return HTTPStatus.UNAUTHORIZED
        finally:
            self._queue.release()

    def _known(self, name: bytes, key: bytes, users: Mapping[bytes, SecretStr]) -> HTTPStatus | None:
        if name in users and hmac.compare_digest(self._right.get(name, b""), key):
            return HTTPStatus.OK
        return HTTPStatus.UNAUTHORIZED if key in self._wrong else None

    def _hash_for(self, name: bytes, users: Mapping[bytes, SecretStr]) -> bytes:
        """Return a user's hash; for an unknown name always the same one, so that timing reveals nothing."""
        if name not in users:
            name = sorted(users)[int.from_bytes(self._hmac(name)[:8]) % len(users)]
        return users[name].get_secret_value().encode()

    def _hmac(self, *parts: bytes) -> bytes:
        message = b"".join(len(part).to_bytes(8) + part for part in parts)
        return hmac.digest(self._secret, message, hashlib.sha256)


def _parse(authorization: bytes) -> tuple[bytes, bytes] | None:
    """Return name and password; None if the header has another form."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None
