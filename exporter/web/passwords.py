"""Who may come in: names and passwords held against bcrypt hashes, each seldom."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import bcrypt
from cachetools import LRUCache
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool

Comparison = Callable[[bytes, bytes], bool]
"""Whether a password belongs to a hash; takes long."""

_WRONG_KEPT: Final = 256
"""Wrong answers that are remembered; a wrong password in a scrape configuration costs bcrypt once."""

_LONGEST: Final = 72
"""Bytes of a password that bcrypt looks at."""


def compare(password: bytes, hashed: bytes) -> bool:
    """Whether a password belongs to a bcrypt hash; what follows its first 72 bytes does not count."""
    try:
        return bcrypt.checkpw(password[:_LONGEST], hashed)
    except ValueError:
        return False


class Passwords:
    """Users and their hashes.

    Only one comparison goes on at a time, on a thread, and each caller's address has one place in the queue
    for it: whoever tries a hundred passwords waits for himself. A name that nobody has is compared too,
    with some user's hash, so that it takes as long as one that is known.

    What was found out is kept under a key of this process's own making, never under the password: for
    each user the right password, which wrong ones cannot push out, and the latest wrong ones.

    Args:
        users: names and hashes; not empty.
        comparison: is called on a thread.
    """

    def __init__(self, users: Mapping[bytes, SecretStr], comparison: Comparison = compare) -> None:
        self._users = users
        self._names = sorted(users)
        self._compare = comparison
        self._secret = secrets.token_bytes(32)
        self._right: dict[bytes, bytes] = {}
        self._wrong: LRUCache[bytes, bool] = LRUCache(maxsize=_WRONG_KEPT)
        self._comparing = asyncio.Lock()
        self._waiting: dict[str, tuple[asyncio.Lock, int]] = {}

    async def admit(self, authorization: bytes, caller: str) -> bool:
        """Whether a request may be answered.

        Args:
            authorization: the value of its header; empty if it has none.
            caller: the address that it comes from.
        """
        given = _basic(authorization)
        if given is None:
            return False
        name, password = given
        key = self._key(name, password)
        if (known := self._known(name, key)) is not None:
            return known
        async with _Place(self._waiting, caller), self._comparing:
            if (known := self._known(name, key)) is not None:
                return known
            is_right = await run_in_threadpool(self._compare, password, self._hash_for(name))
            is_right = is_right and name in self._users
            if is_right:
                self._right[name] = key
            else:
                self._wrong[key] = True
            return is_right

    def _known(self, name: bytes, key: bytes) -> bool | None:
        if hmac.compare_digest(self._right.get(name, b""), key):
            return True
        return False if key in self._wrong else None

    def _hash_for(self, name: bytes) -> bytes:
        """The user's hash; for a name that nobody has always the same one, so that the times tell nothing."""
        if name not in self._users:
            number = int.from_bytes(hmac.digest(self._secret, name, hashlib.sha256)[:8])
            name = self._names[number % len(self._names)]
        return self._users[name].get_secret_value().encode()

    def _key(self, name: bytes, password: bytes) -> bytes:
        return hmac.digest(self._secret, len(name).to_bytes(8) + name + password, hashlib.sha256)


class _Place:
    """One caller's turn: his requests one after the other, beside those of others."""

    def __init__(self, waiting: dict[str, tuple[asyncio.Lock, int]], caller: str) -> None:
        self._waiting = waiting
        self._caller = caller

    async def __aenter__(self) -> None:
        lock, count = self._waiting.get(self._caller, (asyncio.Lock(), 0))
        self._waiting[self._caller] = lock, count + 1
        try:
            await lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._waiting[self._caller][0].release()
        self._leave()

    def _leave(self) -> None:
        lock, count = self._waiting.pop(self._caller)
        if count > 1:
            self._waiting[self._caller] = lock, count - 1


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
