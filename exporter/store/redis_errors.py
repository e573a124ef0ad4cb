"""Explanations of errors of a Redis server; pure.

Neither the server's nor the library's text is repeated: a server that does not support a command sends its
arguments back, and these may contain the password.
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
_PERMISSIONS: Final = (
    "the user may not run every command, or use every key, that the exporter needs; docs/operations.md lists "
    "them"
)
_NO_COMMAND: Final = "it does not support a command that the exporter needs; docs/operations.md lists them"
_SUPERFLUOUS: Final = "it has no password, and state.redis_url has one"
MEANINGS: Final[Mapping[str, str]] = {
    "NOAUTH": "it requires a password, and state.redis_url has none",
    "WRONGPASS": "it refuses the user or the password in state.redis_url",
    "NOPERM": _PERMISSIONS,
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
"""Before Redis 7, the code of an error in a script is in the middle of the text."""

_PHRASES: Final[Mapping[str, str]] = {
    "unknown command 'hello'": "it does not support HELLO; leave protocol=3 out of state.redis_url",
    "unknown command": _NO_COMMAND,
    "unknown redis command": _NO_COMMAND,
    "without any password": _SUPERFLUOUS,
    "no password is set": _SUPERFLUOUS,
    "can't run this command": _PERMISSIONS,
    "can't access": _PERMISSIONS,
    "acl failure": _PERMISSIONS,
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
"""For these errors, the library removes the code from the text."""

_OTHER_HOST: Final = (62, 64)
_EXPIRED: Final = 10
"""https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/"""


def meaning(error: BaseException) -> str:
    """Explain why a command failed."""
    text = str(error)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    if code is None and (found := _CODE.search(text)):
        code = found[1]
    if code is not None:
        return MEANINGS[code]
    for phrase, explanation in _PHRASES.items():
        if phrase in text.lower():
            return explanation
    if isinstance(error, redis.AuthenticationError):
        return MEANINGS["NOAUTH" if "authentication required" in text.lower() else "WRONGPASS"]
    if isinstance(error, redis.TimeoutError):
        return "no answer in time"
    if isinstance(error, redis.ConnectionError):
        return _connection_error(error)
    if isinstance(error, redis.ResponseError):
        return "it refuses the command"
    if type(error) in (redis.RedisError, redis.DataError):
        return "an option behind the ? of state.redis_url is wrong"
    return "its response is not that of a Redis server"


def _connection_error(error: BaseException) -> str:
    reason = next((cause for cause in _causes(error) if isinstance(cause, OSError)), None)
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
