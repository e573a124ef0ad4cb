"""Random damage to JSON values and bytes."""

import json
from random import Random
from typing import Any, Final

UNEXPECTED: Final[tuple[Any, ...]] = (
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


def damaged(value: Any, rng: Random) -> Any:
    """Return a copy of a JSON value with one random change."""
    if rng.random() < 0.08:
        return rng.choice(UNEXPECTED)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        rest = {name: other for name, other in value.items() if name != key}
        if rng.random() < 0.2:
            return rest if rng.random() < 0.5 else {**rest, key.upper(): value[key]}
        return {**rest, key: damaged(value[key], rng)}
    if isinstance(value, list) and value:
        index = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.15:
            return value[:index] + value[index + 1 :]
        if kind < 0.3:
            return value[:index] + [value[index]] * rng.choice((2, 50)) + value[index:]
        return [*value[:index], damaged(value[index], rng), *value[index + 1 :]]
    return rng.choice(UNEXPECTED)


def as_bytes(value: Any, rng: Random) -> bytes:
    """Encode a value as a response body, and sometimes damage the bytes too."""
    body = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return damaged_bytes(body, rng) if rng.random() < 0.2 else body


def damaged_bytes(body: bytes, rng: Random) -> bytes:
    """Return bytes that are cut off, changed or repeated at a random position."""
    index = rng.randrange(len(body) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return body[:index]
    if kind == 1:
        return body[:index] + rng.randbytes(rng.randrange(1, 9)) + body[index + rng.randrange(9) :]
    if kind == 2:
        return body[:index] + body[: rng.randrange(len(body) + 1)]
    return body[:index] + b"[" * rng.choice((1, 5000)) + body[index:]
