"""The dashboards as code: `fleet`, `job` and `exporter` say what is shown, the other files how it is drawn.

`make dashboards` writes them to ``grafana/dashboards``; a test holds those files equal to this code.
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
    """The content of a dashboard's file."""
    return json.dumps(DASHBOARDS[name](), indent=2, ensure_ascii=False) + "\n"
