"""Pure value types of the configuration: numbers, durations, URLs, IDs, regular expressions."""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import re2
from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf

from exporter.config.section_base import TEXT, one_word_of, parsed, problem, text_matching, value_problem
from exporter.humanize import join_words
from exporter.model import ALL

_MILLISECONDS: Final = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION: Final = re.compile("".join(f"(?:(?P<{unit}>[0-9]{{1,12}}){unit})?" for unit in _MILLISECONDS))
_LONGEST_DURATION_MS: Final = 2**63 // 1_000_000  # Prometheus keeps nanoseconds in 64 bits: 292 years
_EXACT_ONLY: Final = ("y", "w", "d")
_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_BOOLEAN: Final = "|".join("".join(f"[{char.upper()}{char}]" for char in word) for word in _BOOLEANS)
_EVERYTHING: Final = "all"
_ID: Final = re.compile(r"[0-9a-z]{32}")
_NUMBER: Final = re.compile(
    r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.?(inf|nan)", re.ASCII | re.IGNORECASE
)
_SMALLEST_BUCKET_S: Final = 0.001  # the ledger keeps milliseconds
_LARGEST_BUCKET_S: Final = 31_536_000  # a year
_RE2_OPTIONS: Final = re2.Options()
_RE2_OPTIONS.log_errors = False  # to standard error, with the expression


def parse_duration(text: str) -> float:
    """Parse a duration in Prometheus's syntax, as ``5m``, ``1h30m`` or ``0``, to seconds.

    Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/ (``<duration>``).

    Raises:
        ValueError: ``text`` is not a duration, or is longer than 292 years.
    """
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError("not a duration")
    milliseconds = sum(int(match[unit] or 0) * size for unit, size in _MILLISECONDS.items())
    if milliseconds > _LONGEST_DURATION_MS:
        raise ValueError("longer than 292 years")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """Format a duration so that `parse_duration` returns the same, to the millisecond.

    As in Prometheus, years, weeks and days are used only without a remainder: ``90m`` becomes ``1h30m``,
    ``30d`` stays ``30d``, and 36 hours are ``36h``.
    """
    rest = round(seconds * 1000)
    if rest == 0:
        return "0s"
    parts = []
    for unit, size in _MILLISECONDS.items():
        if rest >= size and not (unit in _EXACT_ONLY and rest % size):
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression in RE2's syntax.

    RE2 takes time in proportion to the name, whatever the expression. Python's ``re`` can take for ever.

    Raises:
        PydanticCustomError: RE2 refuses ``text``; the error gives the reason, but no part of the text.
    """

    text: str
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            compiled = re2.compile(self.text, _RE2_OPTIONS)
        except re2.error as error:
            reason, _, part = error.args[0].decode(errors="replace").partition(": ")
        else:
            object.__setattr__(self, "_compiled", compiled)
            return
        if reason == "invalid perl operator" or re.fullmatch(r"\\[1-9]", part):
            reason += "; RE2 has no lookarounds and no backreferences"
        raise value_problem(f"is not a regular expression in RE2's syntax: {reason}")

    def matches(self, name: str) -> bool:
        """Return whether it matches the whole name."""
        return self._compiled.fullmatch(name.encode(errors="replace")) is not None


def text(value: object) -> str:
    """Accept any single value: ``7`` and ``true`` are texts too."""
    if isinstance(value, str):
        return value
    if value is None:
        raise problem("is empty; give a value or leave it out")
    kind = "a list" if isinstance(value, list | tuple) else "a section"
    raise problem(f"must be a single value, not {kind}")


def as_list(value: object) -> list[object] | tuple[object, ...]:
    """Accept a list."""
    if not isinstance(value, list | tuple):
        raise problem("must be a list, as [a, b]")
    return value


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = text(value).lower()
    if word not in _BOOLEANS:
        raise value_problem("is neither true nor false")
    return _BOOLEANS[word]


def _integer(value: object) -> int:
    if isinstance(value, int):
        return value
    word = text(value)
    if not re.fullmatch(r"-?[0-9]{1,12}", word, re.ASCII):
        raise value_problem("is not a whole number")
    return int(word)


def _duration(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    word = text(value)
    try:
        return parse_duration(word)
    except ValueError:
        pass
    raise value_problem("is not a duration; write a number and a unit, as 30s, 5m, 1h30m or 7d")


def _between(low: object, high: object, parse: Callable[[object], float], **schema: Any) -> BeforeValidator:
    def parse_within_limits(value: object) -> float:
        number = parse(value)
        if not parse(low) <= number <= parse(high):
            raise value_problem(f"is not between {low} and {high}")
        return number

    return parsed(parse_within_limits, **schema)


def duration_between(low: str, high: str) -> BeforeValidator:
    """Annotate a duration in seconds; the limits are given as in the file."""
    pattern = "0|(?=.)" + "".join(f"(?:[0-9]{{1,12}}{unit})?" for unit in _MILLISECONDS)
    return _between(low, high, _duration, title=f"duration, {low} to {high}", **text_matching(pattern))


def integer_between(low: int, high: int) -> BeforeValidator:
    """Annotate an integer."""
    schema = {"title": f"integer, {low} to {high}", "minimum": low, "maximum": high}
    return _between(low, high, _integer, **schema, **text_matching("-?[0-9]{1,12}", "integer"))


def _id(kind: str, place: str, url_prefix: str = "", *, word_for_all: str = "") -> BeforeValidator:
    """Annotate an ID; ``place`` says where to find it, ``url_prefix`` matches the text before it in a URL.

    ``word_for_all`` is accepted too, and becomes `ALL`.
    """

    def parse(value: object) -> str:
        word = text(value)
        if word == word_for_all:
            return ALL
        if _ID.fullmatch(word):
            return word
        if word.lower() == _EVERYTHING:
            raise value_problem(
                "has capital letters; write all"
                if word_for_all
                else f"is not a {kind} ID; every {kind} is watched by projects: [all]"
            )
        if _ID.fullmatch(word.lower()):
            raise value_problem("has capital letters; IDs are lower case", suggestion=word.lower())
        if "/" in word:
            found = re.findall(rf"{url_prefix}(?<![0-9a-z])({_ID.pattern})(?![0-9a-z])", word)
            wrong = f"is a URL, not a {kind} ID; it is {place}"
            raise value_problem(wrong, suggestion=found[-1] if found else None)
        if _ID.fullmatch(word.replace("-", "")):
            raise value_problem("has dashes; IDs have none", suggestion=word.replace("-", ""))
        if re.fullmatch(r"[0-9a-z]{24,48}", word):
            raise value_problem(f"has {len(word)} characters, but a {kind} ID has 32; it is {place}")
        raise value_problem(f"is not a {kind} ID; it is {place}")

    title, pattern = "32 characters of 0-9 and a-z", _ID.pattern
    if word_for_all:
        title, pattern = f"{title}, or {word_for_all}", f"{pattern}|{word_for_all}"
    return parsed(parse, title=title, **text_matching(pattern, "number"))


def _url(value: object) -> str:
    url = text(value)
    if not re.fullmatch(r"[!-~]+", url):
        raise problem("must be a URL without spaces, as https://host")
    try:
        parts = urlsplit(url)
        has_host = parts.hostname and parts.port != 0
    except ValueError:
        has_host = False
    if not has_host or parts.scheme not in ("http", "https"):
        raise problem("must be a URL that begins with https:// or http://, as https://host:8443")
    if "@" in parts.netloc:
        raise problem("must not contain a user name or password; they belong under auth")
    if "?" in url or "#" in url:
        raise problem('must end before the "?" or "#": a host and an optional path')
    return url.rstrip("/")


def _parse_bucket(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    word = text(value)
    if not _NUMBER.fullmatch(word):
        raise value_problem("is not a number of seconds")
    bound = float(word.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(bound) or bound <= 0:
        raise value_problem("must be a finite number of seconds above 0; the +Inf bucket is added")
    if not _SMALLEST_BUCKET_S <= bound <= _LARGEST_BUCKET_S:
        raise value_problem(f"must be between {_SMALLEST_BUCKET_S:g} and {_LARGEST_BUCKET_S} seconds")
    return round(bound, 3)


def _ascending(bounds: tuple[float, ...]) -> tuple[float, ...]:
    if not bounds:
        raise problem("must have at least one upper bound, in seconds")
    for lower, upper in itertools.pairwise(bounds):
        if lower >= upper:
            raise problem(f"must ascend by at least a millisecond; {upper:g} follows {lower:g}")
    return bounds


def one_of(*words: str, title: str) -> BeforeValidator:
    """Annotate a choice of a few words."""

    def parse(value: object) -> str:
        if text(value) not in words:
            raise value_problem(f"is not one of {join_words(words, 'or')}")
        return text(value)

    return parsed(parse, title=title, **one_word_of(*words))


_PATTERN: Final = parsed(
    lambda value: value if isinstance(value, Pattern) else Pattern(text(value)),
    title="regular expression in RE2's syntax",
    **TEXT,
)
_BUCKET: Final = parsed(
    _parse_bucket,
    title=f"seconds, {_SMALLEST_BUCKET_S:g} to {_LARGEST_BUCKET_S}",
    minimum=_SMALLEST_BUCKET_S,
    maximum=_LARGEST_BUCKET_S,
    **text_matching(r"[+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", "number"),
)

Text = Annotated[str, parsed(text, title="text", **TEXT)]
Boolean = Annotated[bool, parsed(_boolean, title="boolean", **text_matching(_BOOLEAN, "boolean"))]
Url = Annotated[str, parsed(_url, title="URL", **text_matching(r'[Hh][Tt][Tt][Pp][Ss]?://[!"$->@-~]+'))]
JobId = Annotated[
    str,
    _id(
        "job",
        "the 32 characters [0-9a-z] after the project's in the job's URL, and list-jobs prints it",
        "(?<!/project/)",
    ),
]
ProjectId = Annotated[
    str,
    _id(
        "project",
        "the 32 characters [0-9a-z] after /project/ in the project's URL",
        "/project/",
        word_for_all=_EVERYTHING,
    ),
]
Patterns = Annotated[
    tuple[Annotated[InstanceOf[Pattern], _PATTERN], ...],
    BeforeValidator(as_list),
    Field(title="list of regular expressions"),
]
Buckets = Annotated[
    tuple[Annotated[float, _BUCKET], ...],
    BeforeValidator(as_list),
    AfterValidator(_ascending),
    Field(title="ascending list of seconds", json_schema_extra={"minItems": 1, "uniqueItems": True}),
]
