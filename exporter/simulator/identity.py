"""Ids and names that look like CodeArts' own and follow from the seed alone."""

import hashlib
import uuid
from typing import Final

PROJECTS: Final = ("shop", "payments", "mobile", "数据平台", "search", "基础设施")
COMPONENTS: Final = (
    "checkout",
    "cart",
    "ledger",
    "gateway",
    "android",
    "结算",
    "index",
    "billing",
    "login",
    "报表",
    "catalogue",
    "courier",
)
PURPOSES: Final = ("release", "nightly", "review", "发布", "image", "lint")


def hex_id(seed: int, *parts: object) -> str:
    """32 characters ``[0-9a-f]``."""
    text = "/".join(str(part) for part in (seed, *parts))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def uuid_id(seed: int, *parts: object) -> str:
    """36 characters, as a UUID is written."""
    return str(uuid.UUID(hex_id(seed, "uuid", *parts)))


def job_name(ordinal: int) -> str:
    """``checkout-release``, ``cart-release``, …, then the same again with a number."""
    component = COMPONENTS[ordinal % len(COMPONENTS)]
    purpose = PURPOSES[ordinal // len(COMPONENTS) % len(PURPOSES)]
    lap = ordinal // (len(COMPONENTS) * len(PURPOSES))
    return f"{component}-{purpose}" + (f"-{lap + 1}" if lap else "")


def project_name(ordinal: int) -> str:
    """``shop``, ``payments``, …, then the same again with a number."""
    lap = ordinal // len(PROJECTS)
    return PROJECTS[ordinal % len(PROJECTS)] + (f"-{lap + 1}" if lap else "")


def record_id(seed: int, ordinal: int, number: int) -> str:
    """The 36-character id of a build, from which the build can be found again."""
    right = _half(seed, "check", ordinal, number)
    left = (ordinal << 32 | number) ^ _half(seed, "mask", right)
    return str(uuid.UUID(int=left << 64 | right))


def read_record_id(seed: int, text: str) -> tuple[int, int] | None:
    """Job ordinal and build number of a `record_id`; None if it is not one."""
    try:
        value = uuid.UUID(text).int
    except ValueError:
        return None
    right = value & (1 << 64) - 1
    left = value >> 64 ^ _half(seed, "mask", right)
    ordinal, number = left >> 32, left & (1 << 32) - 1
    return (ordinal, number) if record_id(seed, ordinal, number) == text else None


def _half(seed: int, *parts: object) -> int:
    return int(hex_id(seed, *parts)[:16], 16)
