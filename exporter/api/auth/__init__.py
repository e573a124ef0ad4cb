"""Credentials: one `requests` authenticator for each kind.

The client calls the authenticator before a request is sent and reports the outcome: `refused` after a 401,
`accepted` after any response that shows the credentials are valid. Rules that all kinds keep:

1. Five refusals in a row lock a key for five minutes, for everyone who uses it. After a refusal nothing is
   sent for 60 s, then twice as long each time, up to 10 minutes; an accepted request ends that.
2. Credentials not yet known to work are sent with one request first; the others wait briefly for its end.
3. What has to be fetched (a token, temporary keys) is fetched by one thread at a time and shared, renewed
   early, and used until it expires while fetching fails.
4. A 401 for credentials that have been replaced in the meantime says nothing about the new ones.
5. A 401 for one operation, while others accept the same credentials, pauses only that operation.
6. No error text holds a secret, nor anything IAM or the metadata service sent besides its error code.

`circuit_breaker` implements rules 1, 2 and 5, `token_cache` rule 3, `iam_and_ecs_agency` rules 4 and 6.
"""

import math
from typing import Final, assert_never

import requests

from exporter.api.auth.circuit_breaker import Clock
from exporter.api.auth.credentials_base import AuthOptions, Credentials
from exporter.api.auth.iam_and_ecs_agency import METADATA_KEY, EcsAgencyCredentials, PasswordCredentials
from exporter.api.auth.token_and_access_key import (
    AccessKeyCredentials,
    Keys,
    TokenCredentials,
    TokenFileCredentials,
)
from exporter.config import AccessKeyAuth, Auth, EcsAgencyAuth, PasswordAuth, TokenAuth, TokenFileAuth

__all__ = ["METADATA_KEY", "Credentials", "credentials_for"]

_MAX_PROBE_TIMEOUT_S: Final = 2.0


def credentials_for(
    auth: Auth,
    *,
    iam_endpoint: str,
    session: requests.Session,
    timeout: float,
    clock: Clock,
    max_refusals: float = math.inf,
) -> Credentials:
    """Make the authenticator for the ``auth`` section of the configuration; sends nothing yet.

    The session sends the requests to IAM, which has ``timeout`` seconds to connect and to respond. From 401
    number ``max_refusals`` on, the credentials are not renewed. ``clock`` returns seconds since the epoch.
    """
    options = AuthOptions(clock, min(timeout, _MAX_PROBE_TIMEOUT_S), max_refusals)
    match auth:
        case TokenAuth():
            return TokenCredentials(auth.token.get_secret_value(), options)
        case TokenFileAuth():
            return TokenFileCredentials(auth.path, options)
        case PasswordAuth():
            return PasswordCredentials(auth, iam_endpoint, session, timeout, options)
        case AccessKeyAuth():
            security_token = auth.security_token.get_secret_value() if auth.security_token else ""
            keys = Keys(auth.access_key, auth.secret_key.get_secret_value(), security_token)
            return AccessKeyCredentials(keys, auth.project_id or "", options)
        case EcsAgencyAuth():
            return EcsAgencyCredentials(auth.metadata_endpoint, options)
        case _:
            assert_never(auth)
