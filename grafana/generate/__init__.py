"""The dashboards as code: `fleet`, `job` and `exporter` define the panels, the other files draw them.

`make dashboards` writes them to ``grafana/dashboards``; a test compares those files with this code.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from grafana.generate.exporter import exporter
from grafana.generate.fleet import fleet
from grafana.generate.job import job
from grafana.generate.panels import Json

DASHBOARDS: Final[Mapping[str, Callable[[], Json]]] = {"fleet": fleet, "job": job, "exporter": exporter}


def rendered(name: str) -> str:
    """Return the content of a dashboard's file."""
    return json.dumps(DASHBOARDS[name](), indent=2, ensure_ascii=False) + "\n"
