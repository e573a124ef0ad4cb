"""CodeArts Build in a process, over a real socket, for tests and for trying things out.

It shares no code with the exporter, so that both cannot share one misreading. Its behaviour rests on, in
this order: the provider's documents (period-history, record-info, recycling-jobs); its machine-readable
definitions and SDK (lists, stages, signatures); reports of code run against the live service (a second shape
of job lists, failures inside HTTP 200, lists that are empty for a moment); and guesses, which each module
names as such and most of which a fault can reverse.
"""

from exporter.simulator.access import AccessKey, Credentials
from exporter.simulator.builds import Job, Plan
from exporter.simulator.exchange import Exchange
from exporter.simulator.faults import KINDS, Fault, Faults, fault, gateway_limits
from exporter.simulator.fleet import Fleet, ManualClock, RealClock, demo_fleet
from exporter.simulator.server import Simulator, run
from exporter.simulator.truth import BuildTruth, JobTruth, totals

__all__ = [
    "KINDS",
    "AccessKey",
    "BuildTruth",
    "Credentials",
    "Exchange",
    "Fault",
    "Faults",
    "Fleet",
    "Job",
    "JobTruth",
    "ManualClock",
    "Plan",
    "RealClock",
    "Simulator",
    "demo_fleet",
    "fault",
    "gateway_limits",
    "run",
    "totals",
]
