"""When to ask what: the schedule, one poll, commit before publish, and the threads around them."""

from exporter.poller.agenda import Agenda
from exporter.poller.clock import service_ms
from exporter.poller.intervals import Intervals
from exporter.poller.poll import Rules
from exporter.poller.poller import Poller
from exporter.poller.threads import PollingThreads

__all__ = ["Agenda", "Intervals", "Poller", "PollingThreads", "Rules", "service_ms"]
