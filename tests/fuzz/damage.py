"""What can be wrong with an answer or a request."""

import json
from random import Random
from typing import Any, Final

ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -0.0, 1e308, float("inf"), float("nan"), 0.1),
    *("", " ", "0", "-1", "NaN", "null", "1e5", "٣", "\x00", "\ud800", "构建", "🧨" * 300, "<html>", "%s{}"),
    *(
        "2024-02-30 25:61:61",
        "1999-12-31T23:59:60Z",
        "9999-12-31 23:59:59",
        "0000-00-00",
        "success",
        "running",
    ),
    *([], {}, [[]], [None], {"": None}, {"total": []}, [1, "2", {}]),
)


def damaged(value: Any, dice: Random) -> Any:
    """A copy of a JSON value with something wrong somewhere in it."""
    if dice.random() < 0.08:
        return dice.choice(ODD)
    if isinstance(value, dict) and value:
        key = dice.choice(list(value))
        rest = {name: other for name, other in value.items() if name != key}
        if dice.random() < 0.2:
            return rest if dice.random() < 0.5 else {**rest, key.upper(): value[key]}
        return {**rest, key: damaged(value[key], dice)}
    if isinstance(value, list) and value:
        at = dice.randrange(len(value))
        how = dice.random()
        if how < 0.15:
            return value[:at] + value[at + 1 :]
        if how < 0.3:
            return value[:at] + [value[at]] * dice.choice((2, 50)) + value[at:]
        return [*value[:at], damaged(value[at], dice), *value[at + 1 :]]
    return dice.choice(ODD)


def as_bytes(value: Any, dice: Random) -> bytes:
    """As a body, which may be damaged too."""
    body = json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
    return torn(body, dice) if dice.random() < 0.2 else body


def torn(body: bytes, dice: Random) -> bytes:
    """Cut off, patched or doubled somewhere."""
    at = dice.randrange(len(body) + 1)
    how = dice.randrange(4)
    if how == 0:
        return body[:at]
    if how == 1:
        return body[:at] + dice.randbytes(dice.randrange(1, 9)) + body[at + dice.randrange(9) :]
    if how == 2:
        return body[:at] + body[: dice.randrange(len(body) + 1)]
    return body[:at] + b"[" * dice.choice((1, 5000)) + body[at:]
