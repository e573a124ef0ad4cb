"""TLS contexts, and Go's names of versions, suites and curves in OpenSSL's words."""

import ipaddress
import os
import re
import ssl
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
"""Suites of TLS 1.2 and below; the list of Go's ``tls.CipherSuites``."""

SUITES_OF_TLS13: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""In Go as here, TLS 1.3 always offers all of them."""

CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

NO_CLIENT_CERT: Final = "NoClientCert"

CLIENT_AUTH_TYPES: Final = {
    NO_CLIENT_CERT: ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
"""``RequestClientCert`` lets everybody in, with a certificate or without; not to ask comes to the same."""

UNVERIFIED_CLIENT_AUTH_TYPES: Final = ("RequireAnyClientCert", "RequireClientCert")
"""A certificate that nobody verifies; Python's TLS cannot ask for one."""

_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)

_CERTIFICATES: Final = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")

_NO_CERTIFICATE: Final = 'holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----")'

_KIND: Final = {"DNS": "", "email": "", "URI": "", "IP Address": "ip"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate with the chain below its authority, and its key, both in PEM form."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        """Without the key."""
        return "Identity()"


class RefusedError(Exception):
    """OpenSSL refuses a certificate or its key.

    Attributes:
        is_about_key: it is the key rather than the certificate.
    """

    def __init__(self, text: str, *, is_about_key: bool = False) -> None:
        super().__init__(text)
        self.is_about_key = is_about_key


def pem_blocks(content: bytes) -> dict[bytes, bytes]:
    """The PEM blocks of a file, joined by their labels; text around them is ignored, as OpenSSL and Go do."""
    found: dict[bytes, bytes] = {}
    for block in _PEM.finditer(content):
        label = b"CERTIFICATE" if block[1] in _CERTIFICATES else block[1]
        label = b"PRIVATE KEY" if label.endswith(b"PRIVATE KEY") else label
        found[label] = found.get(label, b"") + block[0] + b"\n"
    return found


def new_context(identity: Identity) -> ssl.SSLContext:
    """A server's context that speaks HTTP/1.1 only.

    Raises:
        RefusedError: the certificate or the key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    chain = pem_blocks(identity.certificate).get(b"CERTIFICATE")
    private = pem_blocks(identity.key).get(b"PRIVATE KEY")
    if not chain:
        raise RefusedError(_NO_CERTIFICATE)
    if not private:
        raise RefusedError(
            'holds no private key in PEM form ("-----BEGIN PRIVATE KEY-----")', is_about_key=True
        )
    if b"ENCRYPTED" in private:
        raise RefusedError("is protected by a passphrase, which nobody can give", is_about_key=True)
    with _file_of(chain) as certificate, _file_of(private) as key:
        try:
            context.load_cert_chain(certificate, key, password="")
        except ssl.SSLError as error:
            refusal = _refusal(error)
        else:
            return context
    raise refusal


def _refusal(error: ssl.SSLError) -> RefusedError:
    if error.reason == "KEY_VALUES_MISMATCH":
        return RefusedError("does not belong to the certificate", is_about_key=True)
    return RefusedError(f"cannot be used with its key: {words_of(error)}")


def words_of(error: ssl.SSLError) -> str:
    """What OpenSSL has to say, in lower case."""
    return (error.reason or "it is damaged").replace("_", " ").lower()


def limit_versions(context: ssl.SSLContext, low: ssl.TLSVersion, high: ssl.TLSVersion) -> None:
    """Speak these versions and those between; which old ones really work is up to OpenSSL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = low
        context.maximum_version = high


def works(context: ssl.SSLContext, version: ssl.TLSVersion) -> bool:
    """Whether a version that is allowed can be spoken: OpenSSL 3 needs security level 0 for old ones."""
    return version >= ssl.TLSVersion.TLSv1_2 or ssl.OPENSSL_VERSION_INFO < (3,) or not context.security_level


def limit_suites(context: ssl.SSLContext, suites: Sequence[str], *, prefers_own_order: bool) -> None:
    """Speak TLS 1.2 and below with these suites only, called by Go's names; by default with OpenSSL's."""
    named = [SUITES[suite] for suite in suites if suite in SUITES]
    if named:
        context.set_ciphers(":".join(named))
    elif suites:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if prefers_own_order:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def ask_for_certificates(context: ssl.SSLContext, mode: ssl.VerifyMode, authorities: bytes) -> None:
    """Verify clients' certificates; any certificate among the authorities is trusted, as Go does.

    Raises:
        RefusedError: the authorities cannot be read.
    """
    trusted = pem_blocks(authorities).get(b"CERTIFICATE")
    if not trusted:
        raise RefusedError(_NO_CERTIFICATE)
    try:
        # A byte that is not ASCII inside a block becomes one that is not base64, which OpenSSL refuses.
        context.load_verify_locations(cadata=trusted.decode("ascii", "replace").replace("\ufffd", "?"))
    except ssl.SSLError as error:
        refusal = RefusedError(f"cannot be used: {words_of(error)}")
    else:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = mode
        return
    raise refusal


def alternative_names(certificate: Mapping[str, object]) -> frozenset[str]:
    """The subject alternative names of a certificate as `ssl.SSLSocket.getpeercert` tells it."""
    alternatives = certificate.get("subjectAltName", ())
    assert isinstance(alternatives, tuple)  # noqa: S101 (what Python documents)
    return frozenset(_address(name) if _KIND[kind] else name for kind, name in alternatives if kind in _KIND)


def _address(name: str) -> str:
    """An IP address as Go writes it; OpenSSL neither shortens IPv6 nor writes it in lower case."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """A file that is gone afterwards, in memory where the system has that: OpenSSL's way in is a path."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("pem"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
