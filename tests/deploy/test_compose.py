"""``compose.yaml`` is valid by the official schema, and the files and names in it exist."""

import re
from pathlib import Path
from typing import Any

import pytest

from exporter.config import parse
from exporter.simulator import Credentials, RealClock, demo_fleet
from tests.support.deploy import (
    DEPLOY,
    IMAGE,
    PORT,
    ROOT,
    SCRAPE_JOB,
    assert_fits,
    document,
    unknown_flags,
)
from tests.support.programs import run_program

FILE = DEPLOY / "compose.yaml"
SERVICES: dict[str, Any] = document(FILE)["services"]
CONFIG = DEPLOY / "compose" / "exporter.yaml"


def binds(service: str) -> dict[str, Path]:
    """Return the bind mounts of a service: source files by target path."""
    mounts = SERVICES[service].get("volumes", [])
    return {
        mount["target"]: (DEPLOY / mount["source"]).resolve() for mount in mounts if mount["type"] == "bind"
    }


def test_it_is_valid_by_the_compose_specification() -> None:
    assert_fits("compose-spec", FILE)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_a_version_a_health_check_a_restart_policy_and_limited_rights(service: str) -> None:
    settings = SERVICES[service]
    assert re.search(r":v?\d+\.\d+\.\d+$", settings["image"])
    assert settings["healthcheck"]["test"][0] == "CMD"
    assert settings["restart"] == "unless-stopped"
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in settings["ports"])


MOUNTED = sorted(
    {path.relative_to(ROOT).as_posix() for service in SERVICES for path in binds(service).values()}
)


@pytest.mark.parametrize("path", MOUNTED)
def test_every_mounted_file_is_in_the_repository(path: str) -> None:
    assert (ROOT / path).exists()


def test_mounts_are_read_only_and_never_created() -> None:
    mounts = [mount for settings in SERVICES.values() for mount in settings.get("volumes", [])]
    for mount in mounts:
        if mount["type"] == "bind":
            assert mount["read_only"] is True
            assert mount["bind"] == {"create_host_path": False}
    volumes = {mount["source"] for mount in mounts if mount["type"] == "volume"}
    assert volumes == document(FILE)["volumes"].keys()


def test_simulator_and_exporter_run_the_image_of_the_dockerfile() -> None:
    for service in ("simulator", "exporter"):
        build = SERVICES[service]["build"]
        assert SERVICES[service]["image"] == IMAGE
        assert (DEPLOY / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()


def test_the_simulator_is_started_with_existing_flags() -> None:
    assert unknown_flags(SERVICES["simulator"]["command"]) == set()
    assert "--port=8080" in SERVICES["simulator"]["command"]


def test_the_configuration_is_mounted_where_the_image_expects_it() -> None:
    assert binds("exporter") == {"/etc/codearts-build-exporter/config.yaml": CONFIG}
    assert SERVICES["exporter"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]


def test_the_configuration_matches_the_simulated_fleet() -> None:
    config = parse(CONFIG.read_text(encoding="utf-8"), source="compose", environ={}, base_dir=CONFIG.parent)
    assert config.endpoint.rstrip("/") == "http://simulator:8080"
    assert {project.id for project in config.projects} == demo_fleet(RealClock()).projects.keys()
    [key] = Credentials().access_keys
    text = CONFIG.read_text(encoding="utf-8")
    assert f"access_key: {key.access_key}\n" in text
    assert f"secret_key: {key.secret_key}\n" in text


PROMETHEUS: dict[str, Any] = document(DEPLOY / "compose" / "prometheus.yml")


def targets(job: str) -> list[str]:
    [found] = [config for config in PROMETHEUS["scrape_configs"] if config["job_name"] == job]
    return [target for group in found["static_configs"] for target in group["targets"]]


def test_prometheus_scrapes_the_exporter_under_the_name_that_rules_use() -> None:
    assert targets(SCRAPE_JOB) == [f"exporter:{PORT}"]
    [group] = PROMETHEUS["alerting"]["alertmanagers"]
    assert group["static_configs"] == [{"targets": ["alertmanager:9093"]}]


def test_prometheus_keeps_exemplars() -> None:
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / "prometheus.yml").read_text(encoding="utf-8")
    mounted = binds("prometheus")
    for rules in PROMETHEUS["rule_files"]:
        text = text.replace(rules, str(mounted[rules]))
    file = tmp_path / "prometheus.yml"
    file.write_text(text)
    run_program("promtool", "check", "config", file)


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    mounted = binds("grafana")
    [source] = document(mounted["/etc/grafana/provisioning/datasources/prometheus.yaml"])["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = document(mounted["/etc/grafana/provisioning/dashboards/codearts-build.yaml"])["providers"]
    assert provider["options"]["path"] in mounted


def test_the_data_source_has_the_name_of_the_provisioned_one() -> None:
    [ours] = document(DEPLOY / "compose" / "grafana-datasource.yaml")["datasources"]
    [theirs] = document(ROOT / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")["datasources"]
    assert [ours.get(key) for key in ("name", "type", "uid")] == [
        theirs.get(key) for key in ("name", "type", "uid")
    ]
