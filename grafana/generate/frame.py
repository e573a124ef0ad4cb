"""The frame of a dashboard: variables, annotations, links and the layout of its panels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana.generate.panels import Json
from grafana.generate.promql import counted, of_exporters, of_jobs
from grafana.generate.targets import DATASOURCE

WIDTH: Final = 24
TITLES: Final = {"fleet": "Fleet", "job": "Job", "exporter": "Exporter"}


def uid(name: str) -> str:
    """Return the identifier under which links refer to a dashboard."""
    return f"codearts-build-{name}"


_ROW: Final = "${{__data.fields.{}:percentencode}}"
_KEPT: Final = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"
ROW_TO_JOB: Final = [
    {
        "title": "Details of this job",
        "url": f"/d/{uid('job')}?var-project={_ROW.format('project')}"
        f"&var-job_name={_ROW.format('job_name')}&{_KEPT}",
        "targetBlank": False,
    }
]
"""Link from a row of a table to the dashboard of its job."""

TO_CONSOLE: Final = [{"title": "Open in the console", "url": "${__value.raw}", "targetBlank": True}]
"""Link of a cell that holds a URL; without console.job_url there is no such cell."""

_ALL: Final[Json] = {"selected": True, "text": ["All"], "value": ["$__all"]}


@dataclass(frozen=True)
class Line:
    """Panels side by side; their widths add up to the width of the grid."""

    height: int
    panels: Sequence[Json]


@dataclass(frozen=True)
class Section:
    """Lines under a heading."""

    title: str
    lines: Sequence[Line]


def dashboard(name: str, description: str, sections: Sequence[Section], *, of_one_job: bool = False) -> Json:
    """Build a dashboard; with `of_one_job`, the first job is selected at first instead of all jobs."""
    return {
        "uid": uid(name),
        "title": f"CodeArts Build / {TITLES[name]}",
        "description": description,
        "tags": ["codearts-build"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "links": [_link(other) for other in TITLES if other != name],
        "templating": {"list": _variables({} if of_one_job else _ALL)},
        "annotations": {"list": _annotations()},
        "panels": _placed(sections),
    }


def _placed(sections: Sequence[Section]) -> list[Json]:
    """Return headings and panels with their positions and ids."""
    placed: list[Json] = []
    y = 0
    for section in sections:
        heading = {"type": "row", "title": section.title, "collapsed": False, "panels": []}
        placed.append(heading | {"gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        y += 1
        for line in section.lines:
            x = 0
            for panel in line.panels:
                width = panel["gridPos"]["w"]
                placed.append(panel | {"gridPos": {"x": x, "y": y, "w": width, "h": line.height}})
                x += width
            y += line.height
    return [{"id": number, **panel} for number, panel in enumerate(placed, 1)]


def _link(name: str) -> Json:
    return {
        "type": "link",
        "title": TITLES[name],
        "url": f"/d/{uid(name)}",
        "icon": "dashboard",
        "tooltip": "",
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "tags": [],
        "targetBlank": False,
    }


def _annotations() -> list[Json]:
    """Build the events that every graph marks: builds counted as lost, and loaded configurations."""
    lost = counted(of_jobs("lost_builds_total"), "project, job_name", "$__rate_interval")
    loaded = of_exporters("exporter_config_last_reload_success_timestamp_seconds")
    return [
        _annotation("Lost builds", "red", f"{lost} > 0", "{{project}} / {{job_name}}"),
        _annotation(
            "Start or reload",
            "blue",
            f"1000 * max by (instance) ({loaded})",
            "{{instance}} loaded its configuration",
            at_value=True,
        ),
    ]


def _annotation(name: str, colour: str, expr: str, text: str, *, at_value: bool = False) -> Json:
    """Build marks where a query has a value, or with `at_value` at the time in ms that is its value.

    Grafana's editor writes a ``target`` instead of ``expr`` and ``step``, which older versions ignore.
    """
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "step": "60s",
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": "",
        "useValueForTime": at_value,
    }


def _variables(job_name: Json) -> list[Json]:
    """Build the variables: what people choose by first; `job_name` is the selection of jobs at first."""
    return [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "current": {},
            "hide": 0,
            "includeAll": False,
            "multi": False,
            "options": [],
            "refresh": 1,
            "regex": "",
        },
        _variable("project", "Project", "label_values(codearts_build_job_info, project)"),
        _variable(
            "job_name",
            "Build job",
            'label_values(codearts_build_job_info{project=~"$project"}, job_name)',
            job_name,
        ),
        _variable("instance", "Instance", "label_values(codearts_build_exporter_build_info, instance)"),
        _variable(
            "job",
            "Scrape job",
            'label_values(codearts_build_exporter_build_info{instance=~"$instance"}, job)',
        ),
    ]


def _variable(name: str, label: str, query: str, current: Json = _ALL) -> Json:
    """Build a variable of label values with multiple selection, refreshed when the time range changes."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": query,
        "definition": query,
        "allValue": ".+",
        "current": current,
        "hide": 0,
        "includeAll": True,
        "multi": True,
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
    }
