"""Removal of secrets and control characters from every output.

Secrets are registered where they are read. All text that is logged, printed, shown on a page or kept from an
API response goes through `clean` or `redact`, since libraries and servers may repeat what was sent.

A secret is found depending on its length, so that a short one does not hide unrelated text:

- 8 characters or more, not only digits: anywhere.
- 4 to 7 characters, or only digits: as a separate word.
- 1 to 3 characters: only between quotation marks, or between ``:`` and ``@`` as in a URL.
- 24 characters or more: also any part of at least 16 characters, since libraries shorten what they quote.
"""

import base64
import html
import json
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote

HIDDEN: Final = "***"
"""Replaces a secret."""

_MIN_ANYWHERE: Final = 8
_MIN_WORD: Final = 4
_MIN_LONG: Final = 24
_MIN_PART: Final = 16
_BLOCK: Final = 8
"""A long secret is indexed by blocks of this length: half a part, so that each part holds a whole block."""
_MAX_RENEWED: Final = 16

_SAFE_IN_URLS: Final = ("", "/", "!$&'()*+,;=:", "!$&'()*+,;=:@/?", "!#$%&'()*+,/:;=?@[]~")
"""Characters that quote, urllib3 and requests do not encode in a URL."""
_USERINFO: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(.*)@", re.DOTALL)
_SECRET_NAME: Final = re.compile(r"auth|pass|secret|token|key|credential|cookie", re.IGNORECASE)
_PAIR: Final = re.compile(r"(?:^|[\s;,])[\w.-]+=([^;,\s=][^;,\s]*)")
_CONTROLS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
"""C0, C1, bidi marks, line separators, invisible tags, and lone surrogates."""


class _Secrets:
    """All known secrets in all their spellings, longest first, so that none is replaced in part."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, set[str]] = {}
        self._renewed: dict[str, set[str]] = {}
        self.anywhere: tuple[str, ...] = ()
        self.blocks: dict[str, str] = {}
        self.patterns: tuple[tuple[str, re.Pattern[str]], ...] = ()

    def add(self, secrets: Iterable[str], *, renewed: bool) -> None:
        new = [secret for secret in secrets if secret and secret not in self._kept]
        if not new:
            return
        with self._lock:
            target = self._renewed if renewed else self._kept
            for secret in new:
                target.pop(secret, None)
                target[secret] = _spellings(secret)
            while len(self._renewed) > _MAX_RENEWED:
                del self._renewed[next(iter(self._renewed))]
            spellings = set().union(*self._kept.values(), *self._renewed.values())
            ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
            self.anywhere = tuple(spelling for spelling in ordered if _is_long(spelling))
            self.blocks = {
                spelling[start : start + _BLOCK]: spelling
                for spelling in self.anywhere
                if len(spelling) >= _MIN_LONG
                for start in range(0, len(spelling) - _BLOCK + 1, _BLOCK)
            }
            self.patterns = tuple((short, _pattern(short)) for short in ordered if not _is_long(short))


def _is_long(spelling: str) -> bool:
    return len(spelling) >= _MIN_ANYWHERE and not spelling.isdigit()


def _pattern(short: str) -> re.Pattern[str]:
    found = re.escape(short)
    if len(short) >= _MIN_WORD:
        before = r"(?<!\w)" if re.match(r"\w", short) else ""
        after = r"(?!\w)" if re.search(r"\w\Z", short) else ""
        return re.compile(before + found + after)
    return re.compile(rf"(?<=['\"`]){found}(?=['\"`])|(?<=:){found}(?=@)")


def _spellings(secret: str) -> set[str]:
    """Return the forms libraries may write: percent-encoded, base64, or escaped as in `repr`, JSON, HTML."""
    raw = secret.encode("utf-8", "surrogatepass")
    plain = {secret, raw.decode("latin-1"), secret.replace("'", "''")}
    for encoded in (*(quote(raw, safe=safe) for safe in _SAFE_IN_URLS), quote_plus(raw)):
        plain |= {encoded, re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)}
    base_64 = base64.b64encode(raw).decode()
    plain |= {base_64, base_64.rstrip("="), base64.urlsafe_b64encode(raw).decode()}
    in_html = html.escape(secret)
    plain |= {in_html, in_html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}
    once = {repr(raw)[2:-1]}.union(*map(_escaped, plain))
    return plain.union(once, *map(_escaped, once))


def _escaped(text: str) -> set[str]:
    """Return the text escaped once more, with either or both kinds of quotation marks escaped."""
    found = {_escape_controls(text), json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    printable = "".join(
        letter if letter.isprintable() and letter != "\\" else letter.encode("unicode_escape").decode()
        for letter in text
    )
    for escaped in (text.encode("unicode_escape").decode(), printable):
        single = escaped.replace("'", "\\'")
        found |= {escaped, single, escaped.replace('"', '\\"'), single.replace('"', '\\"')}
    return found


_secrets: Final = _Secrets()


def register(*secrets: str, renewed: bool = False) -> None:
    """Hide these secrets from now on; of ``renewed`` ones only the latest are remembered."""
    _secrets.add(secrets, renewed=renewed)


def register_basic(user: str, password: str) -> None:
    """Hide a password, also in the base64 form of basic authentication."""
    pair = f"{user}:{password}".encode("utf-8", "surrogatepass")
    register(password, base64.b64encode(pair).decode())


def register_url(url: str) -> None:
    """Hide the password or token in a URL, and parameters named like secrets."""
    userinfo = _USERINFO.match(url)
    if userinfo:
        scheme, (user, _, password) = userinfo[1] or "http", userinfo[2].partition(":")
        if not password and scheme.startswith("http"):
            register(user, unquote(user))
        if password:
            # A delimiter that is not percent-encoded turns a part of the password into a host or port.
            register(password, *re.split(r"[#/?@:\\]", password))
            register_basic(unquote(user), unquote(password))
    for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=False):
        if _SECRET_NAME.search(name):
            register(value)


def register_header(name: str, value: str) -> None:
    """Hide the value of a header named like a secret: token, basic-auth password, values of a cookie."""
    if not _SECRET_NAME.search(name):
        return
    scheme, _, credentials = value.partition(" ")
    credentials = credentials.strip() or scheme
    register(credentials, *(found.strip('"') for found in _PAIR.findall(value)))
    if scheme.lower() == "basic":
        with suppress(ValueError):
            user, _, password = base64.b64decode(credentials).decode().partition(":")
            register_basic(user, password)


def redact(text: str) -> str:
    """Replace each secret in the text with ``***``."""
    for spelling in _secrets.anywhere:
        if spelling in text:
            text = text.replace(spelling, HIDDEN)
    for short, pattern in _secrets.patterns:
        if short in text:
            text = pattern.sub(HIDDEN, text)
    return _without_parts(text)


def _without_parts(text: str) -> str:
    """Replace parts of long secrets, which a library shortened."""
    blocks, start = _secrets.blocks, 0
    while start <= len(text) - _BLOCK:
        whole = blocks.get(text[start : start + _BLOCK]) if blocks else None
        if whole is None:
            start += 1
            continue
        begin, end = start, start + _BLOCK
        while begin > 0 and text[begin - 1 : end] in whole:
            begin -= 1
        while end < len(text) and text[begin : end + 1] in whole:
            end += 1
        if end - begin >= _MIN_PART:
            text = text[:begin] + HIDDEN + text[end:]
            start = begin + len(HIDDEN)
        else:
            start += 1
    return text


def clean(text: str, *, keep: str = "") -> str:
    """Remove secrets and escape control characters for a terminal or a log, except those to ``keep``."""
    return _escape_controls(redact(text), keep)


def _escape_controls(text: str, keep: str = "") -> str:
    def escape(found: re.Match[str]) -> str:
        return found[0] if found[0] in keep else found[0].encode("unicode_escape").decode()

    return _CONTROLS.sub(escape, text)


def redact_json(body: bytes) -> bytes:
    """Replace the secrets in the strings of a JSON document; other text is returned unchanged."""
    if not any(spelling.encode("utf-8", "surrogatepass") in body for spelling in _secrets.anywhere):
        return body
    try:
        return json.dumps(_redacted(json.loads(body))).encode()
    except (ValueError, RecursionError):
        return body


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    return value
