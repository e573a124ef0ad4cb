"""Access-key signatures, ``SDK-HMAC-SHA256``: a request → the headers that authorize it. Pure.

The canonical form is the official SDK's; tests compare the two. It is hashed line by line::

    GET
    /v1/job/recycling-jobs/                  path, decoded, encoded again per segment, ended by "/"
    page_no=1&page_size=100                  pairs sorted as decoded text, then encoded
    host:cloudbuild-ext.cn-north-4.…         the signed headers, sorted
    x-sdk-date:20260102T030405Z
                                             (an empty line)
    host;x-sdk-date
    e3b0c442…                                sha256 of the body
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_ALGORITHM: Final = "SDK-HMAC-SHA256"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    access_key: str,
    secret_key: str,
    date: str,
) -> dict[str, str]:
    """Return the headers that sign a request: ``X-Sdk-Date``, ``Authorization``, and ``Host`` if missing.

    All ``headers`` are signed, so no proxy may change them, except those with an underscore in their name,
    which gateways drop. The query of ``url`` may be in any order and either encoding of a space. ``date`` is
    the present in UTC, as ``20260102T030405Z``; the service accepts a difference of 15 minutes. The secret
    key is the HMAC key and is never sent.
    """
    added = {"X-Sdk-Date": date}
    if not any(name.lower() == "host" for name in headers):
        added["Host"] = _host(url)
    signed = _canonical_headers({**headers, **added})
    names = ";".join(signed)
    canonical = "\n".join(
        (
            method.upper(),
            _canonical_path(urlsplit(url).path),
            _canonical_query(urlsplit(url).query),
            *(f"{name}:{value}" for name, value in signed.items()),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    to_sign = f"{_ALGORITHM}\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    added["Authorization"] = f"{_ALGORITHM} Access={access_key}, SignedHeaders={names}, Signature={signature}"
    return added


def _host(url: str) -> str:
    """Return the ``Host`` header that an HTTP client sends: no user, no default port."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)):
        return host.removesuffix(f":{parts.port}").removesuffix(":")
    return host


def _canonical_headers(headers: Mapping[str, str]) -> dict[str, str]:
    lowered = {name.lower(): value.strip() for name, value in headers.items() if "_" not in name}
    lowered.pop("authorization", None)
    return dict(sorted(lowered.items()))


def _canonical_path(path: str) -> str:
    encoded = quote(unquote(path), safe="/~")
    return encoded if encoded.endswith("/") else encoded + "/"


def _canonical_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
