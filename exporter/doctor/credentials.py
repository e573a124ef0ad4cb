"""Kind, expiry and refusal of credentials, and how far the clocks are apart. Pure."""

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
from exporter.doctor.results import Answers, Finding, Section, note, ok, problem
from exporter.errors import ApiError, CredentialsError

_GOOD_S: Final = 5

_BEARABLE_S: Final = 300
"""The provider's signing guide: signatures whose time is more than 15 minutes off are refused."""

_REPAIR: Final = (
    "let NTP set the machine's clock (chronyd, systemd-timesyncd; of a container, the host's): "
    '"timedatectl" shows whether it does'
)


def clock(offset_s: float | None) -> Section:
    """How far our clock is off; ``offset_s`` is the service's clock minus ours, None where unknown."""
    if offset_s is None:
        return Section("Clock", (note("not compared: no answer told the time"),))
    seconds = round(abs(offset_s))
    way = "behind" if offset_s > 0 else "ahead of"
    text = f"this machine is {format_duration(float(seconds))} {way} the service"
    if seconds <= _GOOD_S:
        return Section("Clock", (ok(f"within {_GOOD_S} s of the service's"),))
    if seconds <= _BEARABLE_S:
        return Section("Clock", (note(f"{text}; signatures bear 15 minutes", _REPAIR),))
    return Section(
        "Clock",
        (
            problem(
                f"{text}; signatures more than 15 minutes off are refused, and new builds are dated wrong",
                _REPAIR,
            ),
        ),
    )


_LOCKED: Final = (
    "failed to reach the limit",
    "the key is locked, since it was refused five times in a row",
    "stop everything that uses this key, the exporter too, wait five minutes, then put the key right",
)

_CAUSES: Final = (
    _LOCKED,
    ("signature expired", "the signature's time is off", "set the machine's clock (see Clock)"),
    (
        "securitytoken",
        "security_token is missing or belongs to another key",
        "give the three parts of one key",
    ),
    (
        "ak not exist",
        "there is no such access key",
        "check access_key for a slip, and whether the key was deleted",
    ),
    ("verify aksk signature", "the secret key is not the one of this access key", "check secret_key"),
    ("project-id", "project_id is not one of an IAM project", "check project_id, or leave it out"),
)
"""A piece of the service's words, what it means, and what to do."""

_ENDED: Final = (
    ("token expires", "the token has ended", "get a new one; it lasts 24 hours"),
    ("securitytoken expired", "the temporary key has ended", "get a new temporary key, or use a lasting one"),
)
"""The same for what nothing renews."""

_SKEWED_S: Final = 600


def credentials(config: Config, answers: Answers, now: float) -> Section:
    """The kind, the end, and how they were taken; ``now`` in seconds since the epoch."""
    findings = [_kind(config.auth, _lasting(answers.expires_at, now))]
    refused = _refusal(answers)
    if refused:
        findings.append(_refused(config, refused, answers.clock_offset_s))
    elif answers.has_value:
        findings.append(ok("the service takes them"))
    else:
        findings.append(note("not known whether the service takes them: nothing was answered"))
    return Section("Credentials", tuple(findings))


def _refusal(answers: Answers) -> ApiError | None:
    return answers.stopped if isinstance(answers.stopped, CredentialsError) else None


def _lasting(expires_at: float | None, now: float) -> str:
    if expires_at is None:
        return ""
    end = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    hours, minutes = divmod(max(0, round((expires_at - now) / 60)), 60)
    return f", valid until {end} (for {hours} h {minutes:02} min)"


def _kind(auth: Auth, lasting: str) -> Finding:
    match auth:
        case TokenAuth():
            return note(
                "token: it ends 24 hours after it was made, and nothing renews it",
                "use an access key, a user with a password, or a token_file that something keeps fresh, "
                "instead of a token",
            )
        case TokenFileAuth():
            return ok(
                f"token_file {auth.path}: read again when it changes; whoever writes it has to renew it"
            )
        case PasswordAuth():
            return ok(
                f"password: a token for {auth.username} in project {auth.project}{lasting}; renewed by itself"
            )
        case AccessKeyAuth() if auth.security_token:
            return note(
                "access_key: a temporary one (security_token); it ends within a day, and nothing renews it",
                "use a lasting access key, or on a cloud server ecs_agency, instead of a temporary key",
            )
        case AccessKeyAuth():
            return ok("access_key: a lasting one, which needs no renewal")
        case EcsAgencyAuth():
            return ok(f"ecs_agency: temporary keys{lasting}; renewed by themselves")
        case _:
            assert_never(auth)


def _refused(config: Config, error: ApiError, offset_s: float | None) -> Finding:
    """A refusal in plain words: by what the service said, by the clock, or else by the kind."""
    told = str(error).lower()
    is_renewed = isinstance(config.auth, PasswordAuth | EcsAgencyAuth)
    for piece, meaning, todo in _CAUSES if is_renewed else (*_ENDED, *_CAUSES):
        if piece in told:
            return problem(f"refused: {meaning} ({error})", todo)
    if isinstance(config.auth, AccessKeyAuth | EcsAgencyAuth) and abs(offset_s or 0.0) > _SKEWED_S:
        return problem(f"refused, likely for the clock: {error}", "set the machine's clock (see Clock)")
    return problem(f"refused: {error}", _usual_cause(config.auth, config.region or "the endpoint's region"))


def _usual_cause(auth: Auth, region: str) -> str:
    match auth:
        case TokenAuth() | TokenFileAuth():
            return (
                f"see that it was copied whole; else get a new token, scoped to the project of {region}: "
                "those of other regions are refused"
            )
        case PasswordAuth():
            return (
                f"check domain, username and password, that the user may log in by program, and that "
                f"the project {auth.project} is the one of {region}"
            )
        case AccessKeyAuth():
            return "check access_key and secret_key, and whether the key is enabled"
        case EcsAgencyAuth():
            return "check that the server has an agency, and that its metadata service can be reached"
        case _:
            assert_never(auth)
