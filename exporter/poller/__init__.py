"""The schedule of polls, answers into ledgers, commit before publish, and the threads around them."""

from exporter.poller.configured_intervals import Intervals
from exporter.poller.job_state import Rules
from exporter.poller.planner import PollPlanner
from exporter.poller.poller import Poller
from exporter.poller.workers import PollingThreads

__all__ = ["Intervals", "PollPlanner", "Poller", "PollingThreads", "Rules"]
