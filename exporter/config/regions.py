"""Endpoints of Huawei Cloud's regions.

Source: the provider's list of endpoints for CodeArts Build; Dublin is the exception to the pattern.
"""

from typing import Final

KNOWN_REGIONS: Final = (
    "cn-north-1",
    "cn-north-4",
    "cn-east-2",
    "cn-east-3",
    "cn-south-1",
    "cn-south-2",
    "cn-southwest-2",
    "ap-southeast-3",
    "sa-brazil-1",
    "la-north-2",
    "la-south-2",
    "tr-west-1",
    "eu-west-101",
)


def default_endpoints(region: str) -> dict[str, str]:
    """Return ``endpoint`` and ``iam_endpoint`` of a known region.

    An unknown region has none: credentials are never sent to a URL derived from an arbitrary name.
    """
    if region not in KNOWN_REGIONS:
        return {}
    if region == "eu-west-101":
        return {
            "endpoint": "https://build-backend.eu-west-101.myhuaweicloud.eu",
            "iam_endpoint": "https://iam.eu-west-101.myhuaweicloud.eu",
        }
    return {
        "endpoint": f"https://cloudbuild-ext.{region}.myhuaweicloud.com",
        "iam_endpoint": f"https://iam.{region}.myhuaweicloud.com",
    }
