"""All sections of an examination."""

from collections.abc import Callable

from exporter.api.auth import Credentials
from exporter.api.client import ApiClient
from exporter.config import Config
from exporter.doctor.address import address
from exporter.doctor.asking import ask
from exporter.doctor.clock import clock
from exporter.doctor.credentials import credentials as credentials_section
from exporter.doctor.estimate import requests_section
from exporter.doctor.findings import Report
from exporter.doctor.jobs import jobs
from exporter.doctor.permissions import permissions
from exporter.doctor.proxies import proxies_of
from exporter.doctor.series import series_of_a_job
from exporter.doctor.size import series_section, stages_of_a_build
from exporter.doctor.state import state
from exporter.doctor.watched import watched
from exporter.ledger import Buckets


def examine(
    config: Config,
    client: ApiClient,
    credentials: Credentials,
    buckets: Buckets,
    *,
    now: Callable[[], float],
    done: Callable[[], object] = lambda: None,
) -> Report:
    """Ask what is to be known under a configuration, and say what that means.

    Args:
        config: what is examined.
        client: is asked.
        credentials: what the client signs with.
        buckets: of the histograms.
        now: seconds since the epoch.
        done: is called after each question.
    """
    answers = ask(config, client, credentials, now=now, done=done)
    seen = watched(config, answers)
    metrics, stages = config.metrics, stages_of_a_build(config, answers)
    plain, patterns = metrics.plain_branches, len(metrics.branches) - len(metrics.plain_branches)
    of_a_job = series_of_a_job(buckets, metrics.extra_labels, patterns, stages, plain=plain)
    return Report(
        (
            address(config, answers, proxies_of(config)),
            clock(answers.clock_offset_s),
            credentials_section(config, answers, now()),
            permissions(config, answers, seen),
            jobs(config, answers, seen),
            state(config, len(seen.jobs)),
            requests_section(config, answers, seen),
            series_section(config, seen, of_a_job),
        )
    )
