"""TLS contexts; Go's names of versions, cipher suites and curves with OpenSSL's equivalents."""

import ipaddress
import os
import re
import ssl
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}

SUITES: Final = {
    f"TLS_ECDHE_{key}_WITH_{go}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for go, openssl in (
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
"""Suites of TLS 1.2 and older: those of Go's ``tls.CipherSuites``."""

TLS13_SUITES: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""TLS 1.3 always offers all of them, in Go too."""

CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

NO_CLIENT_CERT: Final = "NoClientCert"

REQUIRE_AND_VERIFY: Final = "RequireAndVerifyClientCert"

CLIENT_AUTH_TYPES: Final = {
    NO_CLIENT_CERT: ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    REQUIRE_AND_VERIFY: ssl.CERT_REQUIRED,
}
"""``RequestClientCert`` accepts clients with and without a certificate, so none needs to be requested."""

UNVERIFIED_CLIENT_AUTH_TYPES: Final = ("RequireAnyClientCert", "RequireClientCert")
"""Types that require a certificate without verifying it, which Python's TLS cannot do."""

_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)

_CERTIFICATE_LABELS: Final = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")

_NO_CERTIFICATE: Final = 'holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----")'

_NO_KEY: Final = 'holds no private key in PEM form ("-----BEGIN PRIVATE KEY-----")'


class RefusedError(Exception):
    """A certificate, key or authority cannot be used.

    Attributes:
        key: the one it is about: ``cert``, ``key`` or ``client_ca``.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def new_context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """Create a server's context for HTTP/1.1 from a certificate with its chain and its key, in PEM form.

    Raises:
        RefusedError: they cannot be used.
    """
    chain, private_key = _pem_blocks(certificate, b"CERTIFICATE"), _pem_blocks(key, b"PRIVATE KEY")
    if not chain:
        raise RefusedError("cert", _NO_CERTIFICATE)
    if not private_key:
        raise RefusedError("key", _NO_KEY)
    if b"ENCRYPTED" in private_key:
        raise RefusedError("key", "is protected by a passphrase; use a key without one")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        with _temporary_file(chain + private_key) as path:
            context.load_cert_chain(path, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise RefusedError("key", "does not belong to the certificate") from None
        raise RefusedError("cert", f"cannot be used with its key: {_reason(error)}") from None
    return context


def verify_clients(context: ssl.SSLContext, mode: ssl.VerifyMode, authorities: bytes) -> None:
    """Verify client certificates; any certificate among the authorities is trusted, as in Go.

    Raises:
        RefusedError: the authorities cannot be used.
    """
    trusted = _pem_blocks(authorities, b"CERTIFICATE")
    if not trusted:
        raise RefusedError("client_ca", _NO_CERTIFICATE)
    try:
        # A byte that is not ASCII becomes a question mark, which OpenSSL refuses as invalid base64.
        context.load_verify_locations(cadata=trusted.decode("ascii", "replace").replace("\ufffd", "?"))
    except ssl.SSLError as error:
        raise RefusedError("client_ca", f"cannot be used: {_reason(error)}") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = mode


def limit_versions(context: ssl.SSLContext, lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> None:
    """Allow a range of versions, of which OpenSSL may refuse old ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = lowest
        context.maximum_version = highest


def is_supported(context: ssl.SSLContext, version: ssl.TLSVersion) -> bool:
    """Return whether OpenSSL can speak an allowed version; version 3 needs security level 0 for old ones."""
    return version >= ssl.TLSVersion.TLSv1_2 or ssl.OPENSSL_VERSION_INFO < (3,) or not context.security_level


def limit_suites(context: ssl.SSLContext, suites: Sequence[str], *, own_order: bool) -> None:
    """Allow only these suites, by Go's names, for TLS 1.2 and older; by default those of OpenSSL."""
    openssl_names = [SUITES[suite] for suite in suites if suite in SUITES]
    if openssl_names:
        context.set_ciphers(":".join(openssl_names))
    elif suites:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if own_order:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def alternative_names(certificate: Mapping[str, object]) -> frozenset[str]:
    """Return the subject alternative names in what `ssl.SSLSocket.getpeercert` returns."""
    names = certificate.get("subjectAltName", ())
    assert isinstance(names, tuple)  # noqa: S101 (documented by Python)
    texts = {name for kind, name in names if kind in ("DNS", "email", "URI")}
    return frozenset(texts | {_normalize_ip(name) for kind, name in names if kind == "IP Address"})


def _normalize_ip(name: str) -> str:
    """Write an IP address as Go does; OpenSSL writes IPv6 in full and in capitals."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name


def _pem_blocks(content: bytes, label: bytes) -> bytes:
    """Return the certificates or keys of a PEM file; text around them is ignored, as by OpenSSL and Go."""
    return b"".join(
        block[0] + b"\n"
        for block in _PEM.finditer(content)
        if (block[1] in _CERTIFICATE_LABELS if label == b"CERTIFICATE" else block[1].endswith(label))
    )


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "it is damaged").replace("_", " ").lower()


@contextmanager
def _temporary_file(content: bytes) -> Iterator[str]:
    """Provide content under a path, in memory where the system can: OpenSSL reads keys from files only."""
    in_memory = hasattr(os, "memfd_create")
    with os.fdopen(os.memfd_create("pem"), "wb") if in_memory else tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if in_memory else file.name
