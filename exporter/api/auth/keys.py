"""An access key and its secret, and what they put on a request."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from requests.models import PreparedRequest

from exporter.api.signing import sign

SECURITY_TOKEN_HEADER: Final = "X-Security-Token"  # noqa: S105 a header's name


@dataclass(frozen=True)
class Keys:
    """Of the configuration, or temporary ones with a security token; empty where there is none."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str = field(repr=False)

    def sign(self, request: PreparedRequest, now: float) -> None:
        """Add the signature; of the other headers only those are signed that no proxy changes."""
        if self.security_token:
            request.headers[SECURITY_TOKEN_HEADER] = self.security_token
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("content-type", "host") or name.lower().startswith("x-")
        }
        body = request.body or b""
        added = sign(
            request.method or "",
            request.url or "",
            headers,
            body.encode() if isinstance(body, str) else body,
            access_key=self.access_key,
            secret_key=self.secret_key,
            date=datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ"),
        )
        request.headers.update(added)
