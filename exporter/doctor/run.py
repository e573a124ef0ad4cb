"""Runs all sections of ``check-config --online``, and reads the proxy variables."""

from collections.abc import Callable
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from exporter.api.auth import Credentials
from exporter.api.client import ApiClient
from exporter.api.http import proxy_variable
from exporter.config import Config
from exporter.doctor.address import Proxy, address, stopped
from exporter.doctor.budget import requests_section
from exporter.doctor.credentials import clock, refused
from exporter.doctor.credentials import credentials as credentials_section
from exporter.doctor.jobs import jobs
from exporter.doctor.permissions import permissions
from exporter.doctor.planner_replay import load_of
from exporter.doctor.probe import ask
from exporter.doctor.probe_plan import resolve_watched
from exporter.doctor.results import Report
from exporter.doctor.series import series_section
from exporter.doctor.state import state
from exporter.errors import ApiError, CredentialsError
from exporter.poller import Rules


def proxies_of(config: Config) -> dict[str, Proxy]:
    """Return the proxies in use by configuration key; the metadata service is never behind one."""
    urls = {"endpoint": config.endpoint}
    if config.auth.uses_iam:
        urls["iam_endpoint"] = config.iam_endpoint
    return {key: proxy for key, url in urls.items() if (proxy := proxy_for(url))}


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL according to the environment."""
    found = select_proxy(url, get_environ_proxies(url))
    return Proxy(proxy_variable(url, found), _without_user(found)) if found else None


def _without_user(proxy: str) -> str:
    """Return scheme, host and port; nothing of an address that a password makes ambiguous."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(its address cannot be read)"
    if "@" in proxy and "@" not in parts.netloc:  # cut by a character of the password
        return "(its address cannot be read)"
    return f"{parts.scheme}://{parts.hostname or '?'}{port}"


def explained(config: Config, error: ApiError) -> str:
    """Explain the error that ended a command, and say what to do."""
    if isinstance(error, CredentialsError):
        finding = refused(config, error, None)
        return f"the credentials are {finding.text}; {finding.todo.removesuffix(' (see Clock)')}"
    finding = stopped(error, has_value=False)
    return f"{finding.text}; {finding.todo}"


def examine(
    config: Config,
    client: ApiClient,
    credentials: Credentials,
    *,
    now: Callable[[], float],
    done: Callable[[], object] = lambda: None,
) -> Report:
    """Ask the API what matters for a configuration, and report what that means.

    The client sends the requests, with these credentials. ``now`` returns seconds since the epoch, and
    ``done`` is called after each request.
    """
    answers = ask(config, client, credentials, now=now, done=done)
    watched = resolve_watched(config, answers)
    load = load_of(config, answers, watched)
    return Report(
        (
            address(config, answers, proxies_of(config)),
            clock(answers.clock_offset_s),
            credentials_section(config, answers, now()),
            permissions(config, answers, watched, load),
            jobs(config, answers, watched),
            state(config, len(watched.jobs)),
            requests_section(config, answers, watched, load),
            series_section(config, answers, len(watched.jobs), Rules.of(config).buckets),
        )
    )
