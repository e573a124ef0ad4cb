"""Who may come in: names and passwords held against bcrypt hashes, each seldom."""

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

from exporter.web.turns import Turns

Comparison = Callable[[bytes, bytes], bool]
"""Whether a password belongs to a hash; takes long."""

_WRONG_KEPT: Final = 256
"""Wrong answers that are remembered; a wrong password in a scrape configuration costs bcrypt once."""

_MOST_OF_ONE_ADDRESS: Final = 16

_MOST_WAITING: Final = 64
"""Requests that wait for a comparison: at 0.1 s each, the last one of an address waits for two seconds."""

_LONGEST: Final = 72
"""Bytes of a password that bcrypt looks at."""


def compare(password: bytes, hashed: bytes) -> bool:
    """Whether a password belongs to a bcrypt hash; what follows its first 72 bytes does not count."""
    try:
        return bcrypt.checkpw(password[:_LONGEST], hashed)
    except ValueError:
        return False


class Passwords:
    """Holds what callers send against the hashes of the users.

    Only one comparison goes on at a time, on a thread. Addresses take turns, so whoever tries a hundred
    passwords waits for himself. The queue is bounded, and a caller who has disconnected leaves it. A name
    that nobody has is compared too, with some user's hash, so that it takes as long as one that is known.

    What was found out is kept under a key of this process's own making, never under the password: for
    each user the right password, which wrong ones cannot push out, and the latest wrong ones. The hash is
    part of the key, so it holds for as long as the hash does, whatever else of the configuration changes.

    Args:
        comparison: is called on a thread.
    """

    def __init__(self, comparison: Comparison = compare) -> None:
        self._compare = comparison
        self._secret = secrets.token_bytes(32)
        self._right: dict[bytes, bytes] = {}
        self._wrong: LRUCache[bytes, bool] = LRUCache(maxsize=_WRONG_KEPT)
        self._turns = Turns(_MOST_OF_ONE_ADDRESS, _MOST_WAITING)

    async def check(
        self, users: Mapping[bytes, SecretStr], authorization: bytes, caller: str, is_gone: Callable[[], bool]
    ) -> HTTPStatus:
        """OK if a request may be answered, else the status to refuse it with.

        Args:
            users: names and hashes; not empty.
            authorization: the value of the request's header; empty if it has none.
            caller: the address that it comes from.
            is_gone: whether the caller has disconnected.
        """
        given = _basic(authorization)
        if given is None:
            return HTTPStatus.UNAUTHORIZED
        name, password = given
        hashed = self._hash_for(name, users)
        key = self._key(name, hashed, password)
        if (known := self._known(name, key, users)) is not None:
            return known
        refusal = await self._turns.take(caller, is_gone)
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
            self._turns.give_back()

    def _known(self, name: bytes, key: bytes, users: Mapping[bytes, SecretStr]) -> HTTPStatus | None:
        if name in users and hmac.compare_digest(self._right.get(name, b""), key):
            return HTTPStatus.OK
        return HTTPStatus.UNAUTHORIZED if key in self._wrong else None

    def _hash_for(self, name: bytes, users: Mapping[bytes, SecretStr]) -> bytes:
        """The user's hash; for a name that nobody has always the same one, so that the times tell nothing."""
        if name not in users:
            number = int.from_bytes(hmac.digest(self._secret, name, hashlib.sha256)[:8])
            name = sorted(users)[number % len(users)]
        return users[name].get_secret_value().encode()

    def _key(self, *parts: bytes) -> bytes:
        return hmac.digest(
            self._secret, b"".join(len(part).to_bytes(8) + part for part in parts), hashlib.sha256
        )


def _basic(authorization: bytes) -> tuple[bytes, bytes] | None:
    """The name and the password in a header; None if they cannot be read."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None
