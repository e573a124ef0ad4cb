"""Where requests go, and in plain words what keeps them from arriving; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.api.auth import METADATA_KEY
from exporter.config import Config, PasswordAuth
from exporter.config.regions import default_endpoints
from exporter.doctor.results import Answers, Finding, Section, note, ok, problem
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidResponseError,
    NotPublishedError,
    Obstacle,
    ThrottledError,
    UnreachableError,
)

_OBSTACLES: Final = {
    Obstacle.UNKNOWN_HOST: (
        "nobody knows that host",
        "check region and {key} for a slip (a region is like cn-north-4), then the machine's DNS",
    ),
    Obstacle.REFUSED: (
        "nothing listens at that address",
        "check host and port of {key}; a firewall may refuse too",
    ),
    Obstacle.TIMEOUT: (
        "no answer in time",
        "see whether a firewall drops the requests or a proxy is needed (HTTPS_PROXY); if the service is "
        "only slow, raise poll.timeout",
    ),
    Obstacle.UNTRUSTED: (
        "its certificate is not trusted",
        "name the certificates of your installation or proxy in ca_file; if there are none, the address is "
        "somebody else's",
    ),
    Obstacle.TLS: (
        "TLS does not come about",
        "check whether {key} should begin with http:// or https://",
    ),
    Obstacle.PROXY: (
        "the proxy does not let it through",
        "check HTTPS_PROXY and its password, or put the host into NO_PROXY",
    ),
    Obstacle.SETTING: (
        "a setting does not let it be sent",
        "set that variable right, or leave it out; a running exporter has to be restarted to read it again",
    ),
    Obstacle.BROKEN: ("the connection breaks", "look for a firewall or a proxy in between"),
}
"""What keeps requests from an address, and what to do about it; ``{key}`` names the address."""

_NO_METADATA: Final = (
    "see whether this machine is a Huawei Cloud server: others have no metadata service, and need another "
    "kind of credentials; if it is one, check {key}"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names.

    Attributes:
        variable: the environment variable.
        address: without user and password.
    """

    variable: str
    address: str


def address(config: Config, answers: Answers, proxies: Mapping[str, Proxy]) -> Section:
    """Where requests go, and whether they arrive.

    Args:
        config: what is examined.
        answers: of the API.
        proxies: on the way to an address, by the configuration's key for it; absent where there is none.
    """
    findings = [_endpoint(config)]
    if isinstance(config.auth, PasswordAuth):
        default = default_endpoints(config.region or "").get("iam_endpoint")
        findings.append(ok(f"tokens come from {config.iam_endpoint}{_origin(config.iam_endpoint, default)}"))
    for key, proxy in proxies.items():
        findings.append(note(f"requests to {key} go through the proxy {proxy.address} ({proxy.variable})"))
    if config.ca_file:
        findings.append(ok(f"certificates are checked against ca_file {config.ca_file}, and no others"))
    if answers.refusal:
        findings.append(_refused(answers.refusal))
    elif answers.stopped:
        findings.append(_stopped(answers.stopped, has_value=answers.has_value))
    return Section("Address", tuple(findings))


def _endpoint(config: Config) -> Finding:
    default = default_endpoints(config.region or "").get("endpoint")
    region = f"region {config.region}, " if config.region else ""
    return ok(f"{region}{config.endpoint}{_origin(config.endpoint, default)}")


def _origin(given: str, default: str | None) -> str:
    if default is None:
        return ""
    return " (the region's own)" if given == default else f" (given; the region's own is {default})"


def _refused(error: ApiError) -> Finding:
    """Everything that was asked is refused alike."""
    if isinstance(error, NotPublishedError):
        return _not_published(error)
    return problem(
        f"everything is refused alike: {error}",
        "check that the credentials belong to the account and the region of the jobs, and that the user is a "
        "member of their projects, with a role that may view build tasks",
    )


def _not_published(error: ApiError, rest: str = "") -> Finding:
    return problem(
        f"the gateway knows no such API{rest}: {error}",
        "check region and endpoint: CodeArts Build is not in every region, and each has an endpoint of its "
        "own; if both are right, the API was withdrawn there",
    )


def _stopped(error: ApiError, *, has_value: bool) -> Finding:
    """Why asking ended before everything was asked."""
    rest = "; the rest was not asked" if has_value else ""
    key = error.address_key
    match error:
        case CredentialsError():
            return note("nothing more was asked, since the credentials are refused (see Credentials)")
        case ThrottledError():
            return problem(
                f"the service wants fewer requests{rest}: {error}",
                "wait a minute and run this again; if it stays, lower poll.max_requests_per_minute, or give "
                "the exporter a user of its own: the limit is one for all that a user does",
            )
        case NotPublishedError():
            return _not_published(error, rest)
        case UnreachableError():
            words, todo = _OBSTACLES[error.obstacle]
            return problem(
                f"{words}{rest}: {error}", (_NO_METADATA if key == METADATA_KEY else todo).format(key=key)
            )
        case _ if "an HTML page" in str(error):
            return problem(
                f"an HTML page comes instead of the API's answer{rest}: {error}",
                f"check {key}: this is another service, or the login page of a proxy",
            )
        case InvalidResponseError():
            return problem(
                f"what comes is no answer of the API{rest}: {error}", f"check {key}, and proxies in between"
            )
        case BackendError():
            return problem(f"the service is in trouble{rest}: {error}", "run this again later")
        case _:
            return problem(f"the service does not answer as it should{rest}: {error}", "run this again later")
