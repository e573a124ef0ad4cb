"""What went wrong with a Redis server, in words of our own; pure.

Neither what the server answers nor what the library says is repeated: a server that does not know a command
sends its arguments back, and these may hold the password.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

import redis
from redis import exceptions

_CLUSTER: Final = "it is a node of a cluster, which the exporter does not support; use a server without one"
_RIGHTS: Final = (
    "the user may not run every command, or use every key, that the exporter needs; docs/operations.md lists "
    "them"
)
_NO_COMMAND: Final = "it does not know a command that the exporter needs; docs/operations.md lists them"
_NEEDLESS: Final = "it has no password, and state.redis_url has one"
MEANINGS: Final[Mapping[str, str]] = {
    "NOAUTH": "it requires a password, and state.redis_url has none",
    "WRONGPASS": "it refuses the user or the password in state.redis_url",
    "NOPERM": _RIGHTS,
    "READONLY": "it is a read-only replica; the exporter needs the master",
    "MASTERDOWN": "it is a replica that has lost its master",
    "LOADING": "it is still loading its data",
    "OOM": "it has used up its memory (maxmemory)",
    "WRONGTYPE": "the key of the ledgers holds something else",
    "MISCONF": "it accepts no writes, because it cannot save to its disk",
    "NOREPLICAS": "it accepts no writes, because too few replicas are connected",
    "BUSY": "it is busy with a script of another client",
    "DENIED": "it is in protected mode and accepts local connections only",
    **dict.fromkeys(("MOVED", "ASK", "TRYAGAIN", "CROSSSLOT", "CLUSTERDOWN"), _CLUSTER),
}
_CODE: Final = re.compile(rf"\b({'|'.join(MEANINGS)})\b")
"""Before Redis 7, an error inside a script has its code in the middle of the text."""

_PHRASES: Final[Mapping[str, str]] = {
    "unknown command 'hello'": "it does not know HELLO; leave protocol=3 out of state.redis_url",
    "unknown command": _NO_COMMAND,
    "unknown redis command": _NO_COMMAND,
    "without any password": _NEEDLESS,
    "no password is set": _NEEDLESS,
    "can't run this command": _RIGHTS,
    "can't access": _RIGHTS,
    "acl failure": _RIGHTS,
    "max number of clients": "it has too many clients (maxclients)",
    "db index": "it has no database of the number in state.redis_url",
}
_CODES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.AskError, "MOVED"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (exceptions.ClusterError, "CLUSTERDOWN"),
)
"""The library takes these codes out of the text."""

_OTHER_HOST: Final = (62, 64)
_EXPIRED: Final = 10
"""https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/"""


def meaning(error: BaseException) -> str:
    """Why a question to the server came to nothing."""
    text = str(error)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    if code is None and (found := _CODE.search(text)):
        code = found[1]
    if code is not None:
        return MEANINGS[code]
    for phrase, words in _PHRASES.items():
        if phrase in text.lower():
            return words
    if isinstance(error, redis.AuthenticationError):
        known = "authentication required" in text.lower()
        return MEANINGS["NOAUTH" if known else "WRONGPASS"]
    if isinstance(error, redis.TimeoutError):
        return "no answer in time"
    if isinstance(error, redis.ConnectionError):
        return _of_the_connection(error)
    if isinstance(error, redis.ResponseError):
        return "it refuses the command"
    if type(error) in (redis.RedisError, redis.DataError):
        return "an option behind the ? of state.redis_url is wrong"
    return "its answer is not that of a Redis server"


def _of_the_connection(error: BaseException) -> str:
    reason = next((one for one in _causes(error) if isinstance(one, OSError)), None)
    if isinstance(reason, ssl.SSLCertVerificationError):
        if reason.verify_code in _OTHER_HOST:
            return "its certificate is for another host name"
        if reason.verify_code == _EXPIRED:
            return "its certificate has expired"
        return "its certificate is not trusted; ssl_ca_certs in state.redis_url names the file of its CA"
    if isinstance(reason, ssl.SSLError):
        return "the TLS handshake failed; does this port speak TLS?"
    if isinstance(reason, socket.gaierror):
        return "the host name does not resolve"
    if reason is None or reason.errno is None:
        return "it closed the connection"
    return os.strerror(reason.errno)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
