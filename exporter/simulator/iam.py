"""Where credentials come from: IAM's token call and the metadata service of a cloud server.

Rests on the provider's documentation of both.
"""

import json
from datetime import UTC, datetime
from typing import Final

from exporter.simulator.access import LOCKED, Access
from exporter.simulator.answer import Answer, Request, error_answer, json_answer
from exporter.simulator.identity import hex_id

WRONG_PASSWORD: Final = "The username or password is wrong."  # noqa: S105 - a message, not a password


def token_answer(access: Access, request: Request) -> Answer:
    """A token for a password: 201, the token in ``X-Subject-Token``."""
    try:
        asked = _read_login(json.loads(request.body))
    except (ValueError, KeyError, TypeError):
        return error_answer(400, "IAM.0001", "The request body is not a password login.", "iam")
    user = asked["username"]
    if access.is_locked(user):
        return error_answer(401, "IAM.0061", LOCKED, "iam")
    known = access.credentials
    passed = asked == {
        "domain": known.domain,
        "username": known.username,
        "password": known.password,
        "project": known.project,
    }
    access.note(user, passed=passed)
    if not passed:
        return error_answer(401, "IAM.0061", WRONG_PASSWORD, "iam")
    token, expires_ms = access.issue_token()
    project = {"id": known.project_id, "name": known.project}
    body = {"token": {"expires_at": _stamp(expires_ms), "methods": ["password"], "project": project}}
    answer = json_answer(body, 201)
    answer.headers["X-Subject-Token"] = token
    return answer


def metadata_token_answer(request: Request) -> Answer:
    """The session token of the metadata service, as plain text."""
    lifetime = request.headers.get("x-metadata-token-ttl-seconds", "")
    if not lifetime.isdecimal() or not 1 <= int(lifetime) <= 21_600:
        return Answer(400, b"Bad Request", "text/plain")
    return Answer(200, hex_id(0, "metadata", lifetime).encode(), "text/plain")


def key_answer(access: Access) -> Answer:
    """Temporary keys of the server's agency."""
    key = access.issue_key()
    credential = {
        "access": key.access_key,
        "secret": key.secret_key,
        "securitytoken": key.security_token,
        "expires_at": _stamp(key.expires_ms or 0),
    }
    return json_answer({"credential": credential})


def _read_login(body: dict[str, dict[str, dict[str, object]]]) -> dict[str, str]:
    identity, scope = body["auth"]["identity"], body["auth"]["scope"]
    password, project = identity["password"], scope["project"]
    if identity["methods"] != ["password"] or not isinstance(password, dict) or not isinstance(project, dict):
        raise ValueError("not a password login")
    user = password["user"]
    return {
        "domain": str(user["domain"]["name"]),
        "username": str(user["name"]),
        "password": str(user["password"]),
        "project": str(project["name"]),
    }


def _stamp(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
