"""Section Address: where requests go, and what keeps them from arriving. Pure."""

from collections.abc import Mapping
from typing import Final

from exporter.api.auth import METADATA_KEY
from exporter.api.http import Proxy
from exporter.config import Config
from exporter.config.regions import default_endpoints
from exporter.doctor.probe_answers import Answers
from exporter.doctor.report import RUN_AGAIN, Finding, Section, note, ok, problem
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
        "the host name does not resolve",
        "check region and {key} for a typo (a region is like cn-north-4), then the machine's DNS",
    ),
    Obstacle.REFUSED: (
        "nothing listens at that address",
        "check host and port of {key}; a firewall may also refuse connections",
    ),
    Obstacle.TIMEOUT: (
        "no answer in time",
        "check whether a firewall drops the requests or a proxy is needed (HTTPS_PROXY); if the service is "
        "only slow, raise poll.timeout",
    ),
    Obstacle.UNTRUSTED: (
        "the certificate is not trusted",
        "give your installation's or proxy's certificates in ca_file; if it has none, the address is wrong",
    ),
    Obstacle.TLS: ("the TLS handshake failed", "check whether {key} should begin with http:// or https://"),
    Obstacle.PROXY: (
        "the proxy cannot be reached",
        "check host and port in that variable, or add the host of {key} to NO_PROXY",
    ),
    Obstacle.PROXY_REFUSED: (
        "the proxy refuses the request",
        "check user and password in that variable, or add the host of {key} to NO_PROXY",
    ),
    Obstacle.SETTING: (
        "an environment variable prevents the request",
        "correct or unset that variable; a running exporter reads it only at its start",
    ),
    Obstacle.BROKEN: ("the connection breaks", "look for a firewall or a proxy in between"),
}
"""Text and remedy for each obstacle; ``{key}`` is the configuration key of the address."""

_NO_METADATA: Final = (
    "check whether this machine is a Huawei Cloud server: others have no metadata service and need another "
    "kind of credentials; if it is one, check {key}"
)


_NOT_PUBLISHED: Final = (
    "the gateway has no such API",
    "check region and endpoint: CodeArts Build is not in every region, and each region has its own endpoint; "
    "if both are right, the API was withdrawn there",
)


def address(config: Config, answers: Answers, proxies: Mapping[str, Proxy]) -> Section:
    """Report addresses and proxies, and whether requests arrive; ``proxies`` by configuration key."""
    defaults = default_endpoints(config.region or "")
    region = f"region {config.region}, " if config.region else ""
    findings = [ok(f"{region}{config.endpoint}{_origin(config.endpoint, defaults.get('endpoint'))}")]
    if config.auth.uses_iam:
        origin = _origin(config.iam_endpoint, defaults.get("iam_endpoint"))
        findings.append(ok(f"tokens come from {config.iam_endpoint}{origin}"))
    for key, proxy in proxies.items():
        findings.append(note(f"requests to {key} go through the proxy {proxy.address} ({proxy.variable})"))
    if config.ca_file:
        findings.append(ok(f"only certificates from ca_file {config.ca_file} are trusted"))
    if answers.refusal:
        findings.append(_refused(answers.refusal))
    elif answers.stopped:
        findings.append(stopped(answers.stopped, has_value=answers.has_value))
    return Section("Address", tuple(findings))


def _origin(given: str, default: str | None) -> str:
    if default is None:
        return ""
    return " (the region's own)" if given == default else f" (configured; the region's own is {default})"


def _refused(error: ApiError) -> Finding:
    """Every operation is refused with the same error."""
    return problem(
        f"every operation is refused alike: {error}",
        "check that the credentials belong to the account and the region of the jobs, and that the user is a "
        "member of their projects, with a role that may view build tasks",
    )


def stopped(error: ApiError, *, has_value: bool) -> Finding:
    """Explain the error that ended the examination early; ``has_value`` if a request succeeded before it."""
    key = error.address_key
    match error:
        case CredentialsError():
            return note("stopped: the credentials are refused (see Credentials)")
        case ThrottledError():
            text, todo = (
                "the service throttles requests",
                "wait a minute and run this again; if it persists, lower poll.max_requests_per_minute, or "
                "give the exporter a user of its own: the limit applies to everything a user does",
            )
        case NotPublishedError():
            text, todo = _NOT_PUBLISHED
        case UnreachableError():
            text, todo = _OBSTACLES[error.obstacle]
            todo = (_NO_METADATA if key == METADATA_KEY else todo).format(key=key)
        case _ if "an HTML page" in str(error):
            text = "an HTML page comes instead of the API's answer"
            todo = f"check {key}: this is another service, or a login page"
        case InvalidResponseError():
            text, todo = "the answer is not one of this API", f"check {key}, and proxies in between"
        case BackendError():
            text, todo = "the service is in trouble", RUN_AGAIN
        case _:
            text, todo = "unexpected answer of the service", RUN_AGAIN
    return problem(f"{text}{'; the rest was not asked' if has_value else ''}: {error}", todo)
