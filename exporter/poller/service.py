"""All that the poller asks of the API."""

from typing import Protocol

from exporter.api.clock import ClockOffset
from exporter.model import RecycleBin
from exporter.poller.poll import Api
from exporter.poller.sweep import Lists


class Service(Api, Lists, Protocol):
    """The questions of polls, of sweeps, and of nobody else; `exporter.api.client.ApiClient` answers them."""

    @property
    def clock(self) -> ClockOffset:
        """The service's clock against ours."""

    def recycle_bin(self) -> RecycleBin:
        """All deleted jobs that can still be restored."""
