"""All that the poller asks of the API."""

from typing import Protocol

from exporter.model import RecycleBin
from exporter.poller.poll import Api
from exporter.poller.sweep import Lists


class Service(Api, Lists, Protocol):
    """The questions of polls, of sweeps, and of nobody else; `exporter.api.client.ApiClient` answers them."""

    @property
    def clock_offset_s(self) -> float | None:
        """The service's clock minus ours, in seconds; None where that is not known."""

    def recycle_bin(self) -> RecycleBin:
        """All deleted jobs that can still be restored."""
