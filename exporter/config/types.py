"""Pure value types of the configuration: numbers, durations, URLs, ids, patterns.

RE2 takes time in proportion to the name, whatever the expression; Python's ``re`` can take for ever.
"""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import re2
from pydantic import AfterValidator, BeforeValidator, InstanceOf

from exporter.config.durations import DURATION_PATTERN, parse_duration
from exporter.config.problems import listing
from exporter.config.section import TEXT, Between, Described, about_value, problem, shaped

_RE2_OPTIONS: Final = re2.Options()

_RE2_OPTIONS.log_errors = False  # to standard error, with the expression


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression in RE2's syntax.

    Args:
        text: the expression.

    Raises:
        ValueError: RE2 does not take it; the error says why, without any part of the expression.
    """

    text: str
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            compiled = re2.compile(self.text, _RE2_OPTIONS)
        except re2.error as error:
            raise ValueError(_reason(error.args[0].decode(errors="replace"))) from None
        object.__setattr__(self, "_compiled", compiled)

    def matches(self, name: str) -> bool:
        """Tell whether it matches the whole name."""
        return self._compiled.fullmatch(name.encode(errors="replace")) is not None


def _reason(told: str) -> str:
    """What RE2 told, save for the part of the expression that stands after it."""
    words, _, part = told.partition(": ")
    if words == "invalid perl operator" or re.fullmatch(r"\\[1-9]", part):
        return f"{words}; RE2 has no lookarounds and no backreferences"
    return words


_SWITCHES: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_SHORTEST_S: Final = 0.001

_LONGEST_S: Final = 31_536_000
"""Bounds of buckets: what the ledger can tell apart, and a year."""

_ID: Final = re.compile(r"[0-9a-z]{32}")


def text(value: object) -> str:
    """Take a single value, whatever it looks like: ``7`` and ``true`` are texts too."""
    if isinstance(value, str):
        return value
    if value is None:
        raise problem("is empty; give a value or leave it out")
    raise problem(
        f"must be a single value, not {'a list' if isinstance(value, list | tuple) else 'a section'}"
    )


def items(value: object) -> object:
    """Take a list."""
    if not isinstance(value, list | tuple):
        raise problem("must be a list, as [a, b]")
    return value


def switch(value: object) -> bool:
    """Read ``true`` or ``false``, in all the ways of YAML 1.1."""
    if isinstance(value, bool):
        return value
    word = text(value).lower()
    if word not in _SWITCHES:
        raise about_value("is neither true nor false")
    return _SWITCHES[word]


def whole_number(value: object) -> int:
    """Read a number without a fraction."""
    if isinstance(value, int):
        return value
    word = text(value)
    if not re.fullmatch(r"-?[0-9]{1,12}", word, re.ASCII):
        raise about_value("is not a whole number")
    return int(word)


def duration(value: object) -> float:
    """Read a duration; seconds."""
    if isinstance(value, int | float):
        return float(value)
    word = text(value)
    try:
        return parse_duration(word)
    except ValueError:
        pass
    raise about_value("is not a duration; write a number and a unit, as 30s, 5m, 1h30m or 7d")


def between(low: str, high: str, read: Callable[[object], float]) -> Between:
    """Refuse what lies outside of two limits, which are given as they would be written in the file."""
    return Between(low, high, read(low), read(high))


def _read_id(value: object, kind: str, place: str, in_url: str) -> str:
    """Take an id.

    Args:
        value: that was given.
        kind: of what it is the ID.
        place: where to find it.
        in_url: an expression for what may stand before it in a URL.
    """
    word = text(value)
    if _ID.fullmatch(word):
        return word
    if _ID.fullmatch(word.lower()):
        raise about_value("has capital letters, which IDs have not; write them small")
    if "/" in word:
        found = re.findall(rf"{in_url}(?<![0-9a-z])({_ID.pattern})(?![0-9a-z])", word)
        raise about_value(
            f"is an address, not a {kind} ID; it is {place}", meant=found[-1] if found else None
        )
    if _ID.fullmatch(word.replace("-", "")):
        raise about_value("has dashes, which IDs have not", meant=word.replace("-", ""))
    if re.fullmatch(r"[0-9a-z]{24,48}", word):
        raise about_value(f"has {len(word)} characters, and a {kind} ID has 32; it is {place}")
    raise about_value(f"is not a {kind} ID; it is {place}")


def job_id(value: object) -> str:
    """Take a job's id."""
    place = "the 32 characters [0-9a-z] at the end of the job's URL in the console"
    return _read_id(value, "job", place, in_url="")


def project_id(value: object) -> str:
    """Take a CodeArts project's id."""
    place = "the 32 characters [0-9a-z] after /project/ in the project's URL"
    return _read_id(value, "project", place, in_url="/project/")


def pattern(value: object) -> Pattern:
    """Compile a regular expression."""
    if isinstance(value, Pattern):
        return value
    expression = text(value)
    try:
        return Pattern(expression)
    except ValueError as error:
        reason = str(error)
    raise about_value(f"is not a regular expression in RE2's syntax: {reason}")


def url(value: object) -> str:
    """Take the address of a service, without its last ``/``."""
    address = text(value)
    if not re.fullmatch(r"[!-~]+", address):
        raise problem("must be a URL without spaces, as https://host")
    try:
        parts = urlsplit(address)
        known_host = parts.hostname and parts.port != 0
    except ValueError:
        known_host = False
    if not known_host or parts.scheme not in ("http", "https"):
        raise problem("must be a URL that begins with https:// or http://, as https://host:8443")
    if "@" in parts.netloc:
        raise problem("must not hold a user name or password; they belong under auth")
    if "?" in address or "#" in address:
        raise problem('must end before the "?" or "#": a host, and a path if need be')
    return address.rstrip("/")


def buckets(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """Take the upper bounds of a histogram."""
    if not bounds:
        raise problem("must hold one upper bound at least, in seconds")
    for lower, upper in itertools.pairwise(bounds):
        if lower >= upper:
            raise problem(f"must ascend, by a millisecond at least; {upper:g} stands after {lower:g}")
    return bounds


def bucket(value: object) -> float:
    """Read the upper bound of a bucket; seconds."""
    if isinstance(value, int | float):
        return float(value)
    word = text(value).lower()
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.?(inf|nan)", word, re.ASCII):
        raise about_value("is not a number of seconds")
    bound = float(word.replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(bound) or bound <= 0:
        raise about_value("must be a finite number of seconds above 0; the rest has its own bucket")
    if not _SHORTEST_S <= bound <= _LONGEST_S:
        raise about_value(f"must be between {_SHORTEST_S:g} and {_LONGEST_S:.0f} seconds")
    return round(bound, 3)


def one_of(*words: str) -> BeforeValidator:
    """Take one of a few words."""

    def check(value: object) -> str:
        if text(value) not in words:
            raise about_value(f"is not one of {listing(words, 'or')}")
        return text(value)

    return BeforeValidator(check)


ID_SHAPE: Final = shaped("[0-9a-z]{32}", "number")

_SECONDS_SHAPE: Final = {
    **shaped(r"[+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", "number"),
    "minimum": _SHORTEST_S,
    "maximum": _LONGEST_S,
}

_SWITCH_SHAPE: Final = shaped(
    "|".join("".join(f"[{letter.upper()}{letter}]" for letter in word) for word in _SWITCHES), "boolean"
)

_URL_SHAPE: Final = shaped(r'[Hh][Tt][Tt][Pp][Ss]?://[!"$->@-~]+')

Text = Annotated[str, BeforeValidator(text), Described("text", TEXT)]

Switch = Annotated[bool, BeforeValidator(switch), Described("true or false", _SWITCH_SHAPE)]

Whole = Annotated[
    int, BeforeValidator(whole_number), Described("whole number", shaped("-?[0-9]{1,12}", "integer"))
]

Duration = Annotated[float, BeforeValidator(duration), Described("duration", shaped(DURATION_PATTERN))]

JobId = Annotated[str, BeforeValidator(job_id), Described("32 characters of 0-9 and a-z", ID_SHAPE)]

ProjectId = Annotated[str, BeforeValidator(project_id), Described("32 characters of 0-9 and a-z", ID_SHAPE)]

Patterns = Annotated[
    tuple[
        Annotated[
            InstanceOf[Pattern],
            BeforeValidator(pattern),
            Described("regular expression in RE2's syntax", TEXT),
        ],
        ...,
    ],
    BeforeValidator(items),
    Described("list of regular expressions"),
]

Url = Annotated[str, BeforeValidator(url), Described("URL", _URL_SHAPE)]

Buckets = Annotated[
    tuple[
        Annotated[float, BeforeValidator(bucket), Described("seconds, 0.001 to 31536000", _SECONDS_SHAPE)],
        ...,
    ],
    BeforeValidator(items),
    AfterValidator(buckets),
    Described("ascending list of seconds", {"minItems": 1, "uniqueItems": True}),
]
