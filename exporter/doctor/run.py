"""Runs all sections of `check-config --online`, and reads the proxy variables."""

from collections.abc import Callable
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from exporter.api.auth import Credentials
from exporter.api.client import ApiClient
from exporter.api.http import proxy_variable
from exporter.config import Config, PasswordAuth
from exporter.doctor.address import Proxy, address
from exporter.doctor.budget import requests_section
from exporter.doctor.credentials import clock
from exporter.doctor.credentials import credentials as credentials_section
from exporter.doctor.jobs import jobs
from exporter.doctor.load import load_of
from exporter.doctor.permissions import permissions
from exporter.doctor.probe import ask
from exporter.doctor.results import Report
from exporter.doctor.series import series_of_a_job, series_section, stages_of_a_build
from exporter.doctor.state import state
from exporter.doctor.watched import watched
from exporter.poller import Rules


def proxies_of(config: Config) -> dict[str, Proxy]:
    """The proxies on the way to what is asked, by the key of its address; metadata is asked for directly."""
    urls = {"endpoint": config.endpoint}
    if isinstance(config.auth, PasswordAuth):
        urls["iam_endpoint"] = config.iam_endpoint
    return {key: proxy for key, url in urls.items() if (proxy := proxy_for(url))}


def proxy_for(url: str) -> Proxy | None:
    """The proxy that requests to an address go through; never with its user and password."""
    found = select_proxy(url, get_environ_proxies(url))
    if not found:
        return None
    return Proxy(proxy_variable(url, found), _without_user(found))


def _without_user(proxy: str) -> str:
    """Scheme, host and port; nothing at all of what cannot be told apart."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = f":{parts.port}" if parts.port else ""
        if "@" in proxy and "@" not in parts.netloc:  # cut by a character of the password
            raise ValueError
    except ValueError:
        return "(its address cannot be read)"
    return f"{parts.scheme}://{parts.hostname or '?'}{port}"


def examine(
    config: Config,
    client: ApiClient,
    credentials: Credentials,
    *,
    now: Callable[[], float],
    done: Callable[[], object] = lambda: None,
) -> Report:
    """Ask what is to be known under a configuration, and say what that means.

    Args:
        config: what is examined.
        client: is asked.
        credentials: what the client signs with.
        now: seconds since the epoch.
        done: is called after each question.
    """
    answers = ask(config, client, credentials, now=now, done=done)
    seen = watched(config, answers)
    load = load_of(config, answers, seen)
    metrics, stages = config.metrics, stages_of_a_build(config, answers)
    plain, patterns = metrics.plain_branches, len(metrics.branches) - len(metrics.plain_branches)
    of_a_job = series_of_a_job(Rules.of(config).buckets, metrics.extra_labels, patterns, stages, plain=plain)
    return Report(
        (
            address(config, answers, proxies_of(config)),
            clock(answers.clock_offset_s),
            credentials_section(config, answers, now()),
            permissions(config, answers, seen, load),
            jobs(config, answers, seen),
            state(config, len(seen.jobs)),
            requests_section(config, answers, seen, load),
            series_section(config, seen, of_a_job),
        )
    )
