"""Verifies ``SDK-HMAC-SHA256`` signatures, as the gateway does.

Rests on the provider's description of the algorithm, the signatures in ``signing-vectors.json`` and the SDK.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

from exporter.simulator.answer import Request

ALGORITHM: Final = "SDK-HMAC-SHA256"
AUTHORIZATION: Final = re.compile(
    rf"{ALGORITHM} Access=(?P<access>[^,\s]+), ?SignedHeaders=(?P<signed>[^,\s]+), ?"
    r"Signature=(?P<hex>[0-9a-f]{64})"
)
MUST_BE_SIGNED: Final = ("host", "x-sdk-date", "x-project-id", "x-security-token")


@dataclass(frozen=True, slots=True)
class Claim:
    """What an ``Authorization`` header says of itself."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str


def read_claim(authorization: str) -> Claim | None:
    """Takes the header apart; None if it is not of this algorithm."""
    match = AUTHORIZATION.fullmatch(authorization)
    if match is None:
        return None
    return Claim(match["access"], tuple(match["signed"].split(";")), match["hex"])


def read_date(text: str) -> int | None:
    """``20260102T030405Z`` as milliseconds since the epoch; None if it is not one."""
    try:
        return round(datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return None


def unsigned_headers(request: Request, claim: Claim) -> list[str]:
    """Headers that have to be signed where they are sent, and are not."""
    return [name for name in MUST_BE_SIGNED if name in request.headers and name not in claim.signed_headers]


def signature_of(request: Request, signed_headers: tuple[str, ...], secret_key: str) -> str:
    """The signature that the request should carry, in hex."""
    path, _, query = request.target.partition("?")
    canonical = "\n".join(
        (
            request.method,
            _canonical_path(path),
            _canonical_query(query),
            *(f"{name}:{_value(request.headers, name)}" for name in signed_headers),
            "",
            ";".join(signed_headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{_value(request.headers, 'x-sdk-date')}\n{digest}"
    return hmac.new(secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


def verify(request: Request, claim: Claim, secret_key: str) -> bool:
    """Whether the request carries the right signature over the headers it names."""
    expected = signature_of(request, claim.signed_headers, secret_key)
    return hmac.compare_digest(expected, claim.signature)


def _value(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name, "").strip()


def _canonical_path(path: str) -> str:
    encoded = "/".join(quote(unquote(segment), safe="~") for segment in path.split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def _canonical_query(query: str) -> str:
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    decoded = sorted((unquote(name), unquote(value)) for name, value in pairs)
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in decoded)
