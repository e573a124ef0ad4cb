"""Sections Clock and Credentials: clock offset; kind, expiry and refusal of the credentials. Pure."""

from datetime import UTC, datetime
from typing import Final, assert_never

from exporter.config import (
    AccessKeyAuth,
    Auth,
    Config,
    EcsAgencyAuth,
    PasswordAuth,
    TokenAuth,
    TokenFileAuth,
    format_duration,
)
from exporter.doctor.probe_answers import Answers
from exporter.doctor.report import Finding, Section, note, ok, problem
from exporter.errors import ApiError, CredentialsError

_GOOD_S: Final = 5
_TOLERABLE_S: Final = 300
_SKEWED_S: Final = 600
"""The provider's signing guide: signatures whose time is more than 15 minutes off are refused."""

_REPAIR: Final = (
    "let NTP set the machine's clock (chronyd, systemd-timesyncd; for a container, the host's): "
    '"timedatectl" shows whether it does'
)

_CAUSES: Final = (
    (
        "failed to reach the limit",
        "the key is locked, since it was refused five times in a row",
        "stop everything that uses this key, the exporter too, wait five minutes, then correct the key",
    ),
    ("signature expired", "the signature's time is off", "set the machine's clock (see Clock)"),
    (
        "securitytoken",
        "security_token is missing or belongs to another key",
        "give the three parts of one key",
    ),
    (
        "ak not exist",
        "there is no such access key",
        "check access_key for a typo, and whether it was deleted",
    ),
    ("verify aksk signature", "the secret key does not belong to this access key", "check secret_key"),
    ("project-id", "project_id is not the ID of an IAM project", "check project_id, or leave it out"),
)
"""Part of the service's message, its meaning, and the remedy."""

_EXPIRED: Final = (
    ("token expires", "the token has expired", "get a new one; it lasts 24 hours"),
    (
        "securitytoken expired",
        "the temporary key has expired",
        "get a new temporary key, or use a permanent one",
    ),
)
"""The same for credentials that are not renewed automatically."""


def clock(offset_s: float | None) -> Section:
    """Report the clock offset: the service's clock minus ours, None where unknown."""
    if offset_s is None:
        return Section("Clock", (note("not compared: no valid answer had a date"),))
    seconds = round(abs(offset_s))
    way = "behind" if offset_s > 0 else "ahead of"
    text = f"this machine is {format_duration(float(seconds))} {way} the service"
    if seconds <= _GOOD_S:
        finding = ok(f"within {_GOOD_S} s of the service's")
    elif seconds <= _TOLERABLE_S:
        finding = note(f"{text}; signatures tolerate 15 minutes", _REPAIR)
    else:
        finding = problem(
            f"{text}; signatures more than 15 minutes off are refused, and new builds get wrong dates",
            _REPAIR,
        )
    return Section("Clock", (finding,))


def credentials(config: Config, answers: Answers, now: float) -> Section:
    """Report kind, expiry and acceptance; ``now`` in seconds since the epoch."""
    kind = _kind(config.auth, _validity(answers.expires_at, now))
    if isinstance(answers.stopped, CredentialsError):
        accepted = refused(config, answers.stopped, answers.clock_offset_s)
    elif answers.has_value:
        accepted = ok("accepted by the service")
    else:
        accepted = note("not known whether the service accepts them: no request succeeded")
    return Section("Credentials", (kind, accepted))


def _validity(expires_at: float | None, now: float) -> str:
    if expires_at is None:
        return ""
    end = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    hours, minutes = divmod(max(0, round((expires_at - now) / 60)), 60)
    return f", valid until {end} (for {hours} h {minutes:02} min)"


def _kind(auth: Auth, validity: str) -> Finding:
    match auth:
        case TokenAuth():
            return note(
                "token: expires 24 hours after it was issued, and is not renewed",
                "use an access key, a user with a password, or a token_file that another program refreshes, "
                "instead of a token",
            )
        case TokenFileAuth():
            return ok(
                f"token_file {auth.path}: read again when it changes; whatever writes it has to renew it"
            )
        case PasswordAuth():
            return ok(
                f"password: a token for {auth.username} in project {auth.project}{validity}; "
                "renewed automatically"
            )
        case AccessKeyAuth() if auth.security_token:
            return note(
                "access_key: temporary (security_token), expires within a day, and is not renewed",
                "use a permanent access key, or on a cloud server ecs_agency, instead of a temporary key",
            )
        case AccessKeyAuth():
            return ok("access_key: permanent, no renewal needed")
        case EcsAgencyAuth():
            return ok(f"ecs_agency: temporary keys{validity}; renewed automatically")
        case _:
            assert_never(auth)


def refused(config: Config, error: ApiError, offset_s: float | None) -> Finding:
    """Explain a refusal by the service's message, else by the clock, else by the kind."""
    message = str(error).lower()
    is_renewed = isinstance(config.auth, PasswordAuth | EcsAgencyAuth)
    for part, meaning, todo in _CAUSES if is_renewed else (*_EXPIRED, *_CAUSES):
        if part in message:
            return problem(f"refused: {meaning} ({error})", todo)
    if isinstance(config.auth, AccessKeyAuth | EcsAgencyAuth) and abs(offset_s or 0.0) > _SKEWED_S:
        return problem(
            f"refused, probably because of the clock: {error}", "set the machine's clock (see Clock)"
        )
    return problem(f"refused: {error}", _usual_remedy(config.auth, config.region or "the endpoint's region"))


def _usual_remedy(auth: Auth, region: str) -> str:
    match auth:
        case TokenAuth() | TokenFileAuth():
            return (
                f"check that it was copied whole; else get a new token, scoped to the project of {region}: "
                "those of other regions are refused"
            )
        case PasswordAuth():
            return (
                "check domain, username and password, that the user has programmatic access, and that "
                f"{auth.project} is the project of {region}"
            )
        case AccessKeyAuth():
            return "check access_key and secret_key, and whether the key is enabled"
        case EcsAgencyAuth():
            return "check that the server has an agency, and that its metadata service is reachable"
        case _:
            assert_never(auth)
