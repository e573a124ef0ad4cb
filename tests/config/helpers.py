"""Helpers of the configuration's tests."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.config import Config, parse
from exporter.errors import ConfigError

JOB = "f9d6c8466d614a9788e9a0acf6c15f46"
OTHER_JOB = "48c66c6002964721be537cdc6ce0297b"
PROJECT = "b4d3971c3988463b865f6f920846149e"
KNOWN_REGIONS = (
    "the known regions are cn-north-1, cn-north-4, cn-east-2, cn-east-3, cn-south-1, cn-south-2, "
    "cn-southwest-2, ap-southeast-3, sa-brazil-1, la-north-2, la-south-2, tr-west-1 and eu-west-101; "
    "anywhere else, give endpoint"
)
MINIMAL = f"region: cn-north-4\nauth: {{token: made-up}}\njobs: [{JOB}]\n"


def read(text: str, environ: Mapping[str, str] | None = None, base_dir: Path = Path()) -> Config:
    """Parse a configuration called ``config.yaml``."""
    return parse(text, source="config.yaml", environ=environ or {}, base_dir=base_dir)


def read_with(text: str, environ: Mapping[str, str] | None = None) -> Config:
    """Parse `MINIMAL` followed by ``text``, which starts in line 4."""
    return read(MINIMAL + text, environ)


def complaint(text: str, environ: Mapping[str, str] | None = None, base_dir: Path = Path()) -> str:
    """Return the errors of a configuration called ``config.yaml``."""
    with pytest.raises(ConfigError) as caught:
        read(text, environ, base_dir)
    return str(caught.value)


def complaint_about(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the errors of `MINIMAL` followed by ``text``, which starts in line 4."""
    return complaint(MINIMAL + text, environ)
