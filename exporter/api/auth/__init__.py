"""Who asks: one `requests` authenticator for each kind of credentials.

The client calls the authenticator before a request goes out and tells it how that ended: `refused` after a
401, `accepted` after any answer that shows the credentials were good. Rules all kinds keep:

1. Five refusals in a row lock a key for five minutes, for everyone who uses it. After a refusal nothing is
   sent for 60 s, then twice as long each time up to 10 minutes; a good answer ends that.
2. Credentials nobody has seen work go out with one request first; the others wait a moment for its answer.
3. What has to be fetched (a token, temporary keys) is fetched by one thread at a time and shared, early
   enough, and used to its end while fetching fails.
4. A 401 for credentials that have been replaced in the meantime says nothing about the new ones.
5. A 401 for one operation, while others accept the same credentials, is that operation's own: it is held back
   alone.
6. No text made here holds a secret, nor anything IAM or the metadata service said besides its error code.

Rules 1 and 2 are kept by `gate`, rule 3 by `lease`, rule 5 by `operations`, rule 6 by `peer`.
"""

from typing import Final, assert_never

import requests

from exporter.api.auth.circuit_breaker import Clock
from exporter.api.auth.credentials import (
    AccessKeyCredentials,
    Credentials,
    Keys,
    TokenCredentials,
    TokenFileCredentials,
    WaryCredentials,
)
from exporter.api.auth.iam import METADATA_KEY, EcsAgencyCredentials, PasswordCredentials
from exporter.config import AccessKeyAuth, Auth, EcsAgencyAuth, PasswordAuth, TokenAuth, TokenFileAuth

__all__ = [
    "METADATA_KEY",
    "AccessKeyCredentials",
    "Clock",
    "Credentials",
    "EcsAgencyCredentials",
    "PasswordCredentials",
    "TokenCredentials",
    "TokenFileCredentials",
    "WaryCredentials",
    "credentials_for",
]

_FIRST_ANSWER_PATIENCE: Final = 2.0


def credentials_for(
    auth: Auth, *, iam_endpoint: str, session: requests.Session, timeout: float, clock: Clock
) -> Credentials:
    """Make the authenticator for the ``auth`` section of the configuration; sends nothing yet.

    Args:
        auth: one kind of credentials.
        iam_endpoint: as ``https://iam.cn-north-4.myhuaweicloud.com``; asked for tokens.
        session: carries the requests to IAM; its TLS and proxy settings count.
        timeout: seconds, for IAM to connect and to answer.
        clock: seconds since the epoch.
    """
    patience = min(timeout, _FIRST_ANSWER_PATIENCE)
    match auth:
        case TokenAuth():
            return TokenCredentials(auth.token.get_secret_value(), clock, patience)
        case TokenFileAuth():
            return TokenFileCredentials(auth.path, clock, patience)
        case PasswordAuth():
            return PasswordCredentials(auth, iam_endpoint, session, timeout, clock, patience)
        case AccessKeyAuth():
            security_token = auth.security_token.get_secret_value() if auth.security_token else ""
            keys = Keys(auth.access_key, auth.secret_key.get_secret_value(), security_token)
            return AccessKeyCredentials(keys, auth.project_id or "", clock, patience)
        case EcsAgencyAuth():
            return EcsAgencyCredentials(auth.metadata_endpoint, clock, patience)
        case _:
            assert_never(auth)
