"""Runs all sections of ``check-config --online``: asks, then reports."""

from collections.abc import Callable

from exporter.api.auth import Credentials
from exporter.api.client import ApiClient
from exporter.api.http import Proxy, proxy_for
from exporter.config import Config
from exporter.doctor.api_reachability import address
from exporter.doctor.budget import requests_section
from exporter.doctor.credentials import clock
from exporter.doctor.credentials import credentials as credentials_section
from exporter.doctor.jobs import jobs
from exporter.doctor.permissions import permissions
from exporter.doctor.planner_replay import load_of
from exporter.doctor.probe import ask
from exporter.doctor.report import Report
from exporter.doctor.series import series_section
from exporter.doctor.state import state
from exporter.doctor.watched_jobs import resolve_watched
from exporter.poller import Rules


def proxies_of(config: Config) -> dict[str, Proxy]:
    """Return the proxies in use by configuration key; the metadata service is never behind one."""
    urls = {"endpoint": config.endpoint}
    if config.auth.uses_iam:
        urls["iam_endpoint"] = config.iam_endpoint
    return {key: proxy for key, url in urls.items() if (proxy := proxy_for(url))}


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
