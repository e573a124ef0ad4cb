"""The dashboard files are up to date, and their panels fill the grid without overlap."""

from itertools import groupby
from typing import Any

import pytest

from grafana.generate import DASHBOARDS, rendered
from tests.grafana.queries import FOLDER, dashboards, panels

WIDTH = 24


def test_the_files_match_the_code() -> None:
    for name in DASHBOARDS:
        kept = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        assert kept == rendered(name), f"{name}.json is out of date: run make dashboards"


def test_every_file_is_generated() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {f"{name}.json" for name in DASHBOARDS}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_fill_each_line_without_overlap(name: str) -> None:
    everything = dashboards()[name]["panels"]
    below = 0
    for y, line in groupby(everything, key=lambda panel: place(panel)["y"]):
        places = [place(panel) for panel in line]
        assert y == below, f"{name}: the line at {y} should begin at {below}"
        assert len({position["h"] for position in places}) == 1, f"{name}: heights differ in the line at {y}"
        x = 0
        for position in places:
            assert position["x"] == x, f"{name}: gap or overlap at {x}, {y}"
            x += position["w"]
        assert x == WIDTH, f"{name}: the line at {y} is {x} wide"
        below = y + places[0]["h"]


def place(panel: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = panel["gridPos"]
    return found


@pytest.mark.parametrize("name", DASHBOARDS)
def test_ids_and_titles_of_panels_are_unique(name: str) -> None:
    dashboard = dashboards()[name]
    ids = [panel["id"] for panel in dashboard["panels"]]
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(ids)) == len(ids), name
    assert len(set(titles)) == len(titles), name


def test_dashboards_have_fixed_ids() -> None:
    assert {name: dashboard["uid"] for name, dashboard in dashboards().items()} == {
        "fleet": "codearts-build-fleet",
        "job": "codearts-build-job",
        "exporter": "codearts-build-exporter",
    }


@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_dashboard_links_to_the_others_with_variables_and_time(name: str) -> None:
    everything = dashboards()
    links = everything[name]["links"]
    others = {f"/d/{dashboard['uid']}" for other, dashboard in everything.items() if other != name}
    assert {link["url"] for link in links} == others
    assert all(link["includeVars"] and link["keepTime"] for link in links)


@pytest.mark.parametrize("name", ["fleet", "exporter"])
def test_each_table_of_jobs_links_to_the_job(name: str) -> None:
    for panel in panels(dashboards()[name]):
        if panel["type"] == "table" and "job_name" in panel["targets"][0]["expr"].split("(codearts", 1)[0]:
            links = [
                link["url"]
                for override in panel["fieldConfig"]["overrides"]
                for entry in override["properties"]
                if entry["id"] == "links"
                for link in entry["value"]
                if link["url"] != "${__value.raw}"
            ]
            assert len(links) == 1, f"{name} / {panel['title']}: no link to the job"
            assert links[0].startswith("/d/codearts-build-job?"), f"{name} / {panel['title']}"
            for field in ("project", "job_name"):
                filled = f"var-{field}=${{__data.fields.{field}:percentencode}}"
                assert filled in links[0], f"{name} / {panel['title']}: {field} is not in the link"
