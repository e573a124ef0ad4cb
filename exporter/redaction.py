"""The filter before every output: no secret and no control character passes it.

Secrets are registered where they are read. Whatever is logged, printed, shown on a page or kept from an
answer of the API goes through `clean` or `redact`, since libraries and peers may repeat what was sent.

How a secret is found depends on its length, so that a short one does not blank out unrelated text:

- 8 characters or more, not only digits: anywhere.
- 4 to 7 characters, or only digits: as a word of its own.
- 1 to 3 characters: only between quotation marks, or between ``:`` and ``@`` as in a URL.
- 24 characters or more: also any piece of at least 16 characters, as libraries shorten what they quote.
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
"""Stands in place of a secret."""

_ANYWHERE: Final = 8
_AS_A_WORD: Final = 4
_SHORTENED: Final = 24
_PIECE: Final = 16
_BLOCK: Final = 8
"""A long secret is found again by its blocks of so many characters: half a piece, so that each holds one."""
_MOST_RENEWED: Final = 16

_UNQUOTED: Final = ("", "/", "!$&'()*+,;=:", "!$&'()*+,;=:@/?", "!#$%&'()*+,/:;=?@[]~")
"""What quote, urllib3 and requests leave as it is in a URL."""
_USERINFO: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(.*)@", re.DOTALL)
_SECRET_NAME: Final = re.compile(r"auth|pass|secret|token|key|credential|cookie", re.IGNORECASE)
_PAIR: Final = re.compile(r"(?:^|[\s;,])[\w.-]+=([^;,\s=][^;,\s]*)")
_CONTROLS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
"""C0, C1, bidi marks, line separators, invisible tags, and halves of characters."""
_WRITTEN: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class _Secrets:
    """All known secrets in all their spellings; the longest first, so that none is cut by a part of it."""

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
            into = self._renewed if renewed else self._kept
            for secret in new:
                into.pop(secret, None)
                into[secret] = _spellings(secret)
            while len(self._renewed) > _MOST_RENEWED:
                del self._renewed[next(iter(self._renewed))]
            spellings = set().union(*self._kept.values(), *self._renewed.values())
            ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
            self.anywhere = tuple(spelling for spelling in ordered if _is_long(spelling))
            self.blocks = {
                spelling[start : start + _BLOCK]: spelling
                for spelling in self.anywhere
                if len(spelling) >= _SHORTENED
                for start in range(0, len(spelling) - _BLOCK + 1, _BLOCK)
            }
            self.patterns = tuple((short, _pattern(short)) for short in ordered if not _is_long(short))


def _is_long(spelling: str) -> bool:
    return len(spelling) >= _ANYWHERE and not spelling.isdigit()


def _pattern(short: str) -> re.Pattern[str]:
    found = re.escape(short)
    if len(short) >= _AS_A_WORD:
        before = r"(?<!\w)" if re.match(r"\w", short) else ""
        after = r"(?!\w)" if re.search(r"\w\Z", short) else ""
        return re.compile(before + found + after)
    return re.compile(rf"(?<=['\"`]){found}(?=['\"`])|(?<=:){found}(?=@)")


def _spellings(secret: str) -> set[str]:
    """A secret as libraries may write it: percent-encoded, base64, or escaped as in `repr`, JSON and HTML."""
    raw = secret.encode("utf-8", "surrogatepass")
    plain = {secret, raw.decode("latin-1"), secret.replace("'", "''")}
    for encoded in (*(quote(raw, safe=safe) for safe in _UNQUOTED), quote_plus(raw)):
        plain |= {encoded, re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)}
    coded = base64.b64encode(raw).decode()
    plain |= {coded, coded.rstrip("="), base64.urlsafe_b64encode(raw).decode()}
    page = html.escape(secret)
    plain |= {page, page.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}
    once = {repr(raw)[2:-1]}.union(*map(_escaped, plain))
    return plain.union(once, *map(_escaped, once))


def _escaped(text: str) -> set[str]:
    """Escaped once more; which quotation marks are, depends on the text around it."""
    found = {_written(text), json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
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
    """Hide these from now on.

    Args:
        secrets: as they are sent.
        renewed: they are fetched or read again and again; only the latest of those are remembered.
    """
    _secrets.add(secrets, renewed=renewed)


def register_basic(user: str, password: str) -> None:
    """Hide a password, also in the base64 form of basic authentication."""
    pair = f"{user}:{password}".encode("utf-8", "surrogatepass")
    register(password, base64.b64encode(pair).decode())


def register_url(url: str) -> None:
    """Hide the password in a URL, or a token in its place, and parameters named like secrets."""
    userinfo = _USERINFO.match(url)
    if userinfo:
        scheme, (user, _, password) = userinfo[1] or "http", userinfo[2].partition(":")
        if not password and scheme.startswith("http"):
            register(user, unquote(user))
        if password:
            # A delimiter that is not percent-encoded makes a host or a port of a piece of the password.
            register(password, *re.split(r"[#/?@:\\]", password))
            register_basic(unquote(user), unquote(password))
    for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=False):
        if _SECRET_NAME.search(name):
            register(value)


def register_header(name: str, value: str) -> None:
    """Hide the value of a header named like a secret, without a scheme such as ``Bearer``.

    The password of basic authentication is hidden too, and each value of pairs as in a cookie.
    """
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
    """The text with ``***`` in place of each secret."""
    for spelling in _secrets.anywhere:
        if spelling in text:
            text = text.replace(spelling, HIDDEN)
    for short, pattern in _secrets.patterns:
        if short in text:
            text = pattern.sub(HIDDEN, text)
    return _without_pieces(text)


def _without_pieces(text: str) -> str:
    """Without pieces of long secrets, which somebody cut short."""
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
        if end - begin >= _PIECE:
            text = text[:begin] + HIDDEN + text[end:]
            start = begin + len(HIDDEN)
        else:
            start += 1
    return text


def clean(text: str, *, keep: str = "") -> str:
    """The text as it may go to a terminal or a log: without secrets, control characters escaped.

    Args:
        text: may come from anywhere.
        keep: characters that stay as they are, such as the line breaks of a traceback.
    """
    return _written(redact(text), keep)


def _written(text: str, keep: str = "") -> str:
    def escaped(found: re.Match[str]) -> str:
        character, number = found[0], ord(found[0])
        if character in keep:
            return character
        code = f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
        return _WRITTEN.get(character, code if number < 0x10000 else f"\\U{number:08x}")

    return _CONTROLS.sub(escaped, text)


def redact_json(body: bytes) -> bytes:
    """A JSON document without secrets in its texts; as it is where it holds none, or is no JSON."""
    if not any(spelling in body for spelling in map(_bytes, _secrets.anywhere)):
        return body
    try:
        return json.dumps(_redacted(json.loads(body))).encode()
    except (ValueError, RecursionError):
        return body


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    return value
