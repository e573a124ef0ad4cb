"""The pods of the Helm chart: shards, credentials, state, web configuration, and their own settings."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config import Config
from exporter.config.auth import AccessKeyAuth, EcsAgencyAuth, PasswordAuth, TokenAuth, TokenFileAuth
from exporter.config.schema import PollConfig
from tests.support.deploy import ROOT, loaded, unknown_flags
from tests.support.helm import (
    EVERYTHING,
    NAME,
    NOTHING,
    Values,
    config,
    container,
    objects,
    pod,
    refusal,
    stateful_set,
)

SECRETS = "/run/secrets/codearts-build-exporter"
JOBS = ["f9d6c8466d614a9788e9a0acf6c15f46"]
BUDGET = PollConfig.model_fields["max_requests_per_minute"].default


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Return a folder with all files that a Secret may have."""
    for name in ("secret-key", "token", "password", "sk", "security-token"):
        (tmp_path / name).write_text("made-up")
    return tmp_path


def read(values: Values, secrets: Path) -> Config:
    return config(values, secrets, HUAWEICLOUD_SDK_AK="AK", HUAWEICLOUD_SDK_SECURITY_TOKEN="token")


def test_one_shard_watches_every_job_by_default(secrets: Path) -> None:
    found = stateful_set()
    assert found["replicas"] == 1
    assert "--total-shards=1" in container()["args"]
    assert read({}, secrets) == read({"config": {"projects": ["all"]}}, secrets)
    assert read({}, secrets).projects
    assert read({}, secrets).poll.max_requests_per_minute == BUDGET


@pytest.mark.parametrize("shards", [2, 3, 1000])
def test_shards_are_replicas_and_share_the_budget_of_requests(shards: int, secrets: Path) -> None:
    values = {"shards": shards, "config": {"poll": {"interval": "30s"}}}
    assert stateful_set(values)["replicas"] == shards
    assert f"--total-shards={shards}" in container(values)["args"]
    poll = read(values, secrets).poll
    assert poll.max_requests_per_minute == max(1, BUDGET // shards)
    assert poll.interval == 30


def test_a_budget_of_ones_own_is_kept(secrets: Path) -> None:
    values = {"shards": 2, "config": {"poll": {"max_requests_per_minute": 600}}}
    assert read(values, secrets).poll.max_requests_per_minute == 600


def test_jobs_alone_are_not_joined_by_every_other_job(secrets: Path) -> None:
    found = read({"config": {"jobs": JOBS}}, secrets)
    assert [job.id for job in found.jobs] == JOBS
    assert list(found.projects) == []


def test_the_example_configuration_is_passed_on_unchanged(secrets: Path) -> None:
    example = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
    given = yaml.safe_load(example)
    given["auth"] = {"token_file": f"{SECRETS}/token"}
    given["metrics"]["branches"] = ["main", "release/.*", "no", "0123", "1e3", "{{ x }}", "a: b #c", "构建"]
    file = secrets / "expected.yaml"
    file.write_text(yaml.safe_dump(given))
    values = {"auth": {"type": "custom"}, "config": given}
    assert read(values, secrets) == loaded(file, secrets)


@pytest.mark.parametrize("job", ["1" * 32, "1e" + "2" * 30, "0" * 32, "0x" + "0" * 30])
def test_an_id_that_looks_like_a_number_stays_text(job: str, secrets: Path) -> None:
    found = read({"config": {"jobs": [{"id": job, "name": "yes", "project": "012"}]}}, secrets)
    assert [(entry.id, entry.name, entry.project) for entry in found.jobs] == [(job, "yes", "012")]


def test_a_changed_configuration_replaces_the_pods() -> None:
    def annotations(values: Values) -> dict[str, str]:
        found: dict[str, str] = stateful_set(values)["template"]["metadata"]["annotations"]
        return found

    assert annotations({}) == annotations({"image": {"tag": "1"}})
    assert annotations({}) != annotations({"config": {"jobs": JOBS}})


def sources(values: Values) -> dict[str, tuple[str, str]]:
    """Return the environment variables that come from a Secret: its name and key."""
    found = {
        entry["name"]: entry.get("valueFrom", {}).get("secretKeyRef") for entry in container(values)["env"]
    }
    return {name: (source["name"], source["key"]) for name, source in found.items() if source}


def secret_volume(values: Values) -> str | None:
    """Return the Secret that is mounted where the configuration expects files."""
    mounts = {mount["mountPath"]: mount["name"] for mount in container(values)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(values)["volumes"]}
    return volumes[mounts[SECRETS]]["secret"]["secretName"] if SECRETS in mounts else None


def test_an_access_key_comes_from_a_secret_with_any_keys(secrets: Path) -> None:
    keys = {"accessKey": "ak", "secretKey": "sk", "securityToken": "st"}
    values = {"auth": {"existingSecret": "0123", "keys": keys}}
    assert secret_volume(values) == "0123"
    assert sources(values) == {
        "HUAWEICLOUD_SDK_AK": ("0123", "ak"),
        "HUAWEICLOUD_SDK_SECURITY_TOKEN": ("0123", "st"),
    }
    key = read(values, secrets).auth
    assert isinstance(key, AccessKeyAuth)
    assert str(key.secret_key_file) == str(secrets / "sk")
    assert key.security_token is not None


def test_a_token_comes_from_a_file(secrets: Path) -> None:
    values = {"auth": {"type": "token"}}
    assert (secret_volume(values), sources(values)) == (NAME, {})
    found = read(values, secrets).auth
    assert isinstance(found, TokenFileAuth)
    assert found.path == secrets / "token"


def test_a_password_comes_from_a_file(secrets: Path) -> None:
    user = {"domain": "no", "username": "build: exporter", "project": "007"}
    values = {"auth": {"type": "password", "password": user}}
    assert (secret_volume(values), sources(values)) == (NAME, {})
    found = read(values, secrets).auth
    assert isinstance(found, PasswordAuth)
    assert (found.domain, found.username, found.project) == ("no", "build: exporter", "007")
    assert str(found.password_file) == str(secrets / "password")


def test_an_agency_needs_no_secret_but_the_metadata_service(secrets: Path) -> None:
    values = {"auth": {"type": "ecs_agency"}}
    assert (secret_volume(values), sources(values)) == (None, {})
    assert isinstance(read(values, secrets).auth, EcsAgencyAuth)
    egress = json.dumps(objects(values)["NetworkPolicy", NAME]["spec"]["egress"])
    assert "169.254.169.254/32" in egress
    assert "169.254" not in json.dumps(objects()["NetworkPolicy", NAME])


def test_credentials_of_ones_own_may_use_a_secret(secrets: Path) -> None:
    values: Values = {"auth": {"type": "custom"}, "config": {"auth": {"token": "${TOKEN}"}}}
    assert secret_volume(values) is None
    assert isinstance(config(values, secrets, TOKEN="made-up").auth, TokenAuth)
    values["auth"]["existingSecret"] = "own"
    assert secret_volume(values) == "own"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"auth": {"type": "custom"}}, "config.auth is needed"),
        ({"config": {"auth": {"token": "${TOKEN}"}}}, "config.auth needs auth.type: custom"),
        ({"auth": {"type": "password"}}, "auth.password.domain"),
        ({"auth": {"type": "password", "password": {"domain": "example"}}}, "auth.password.username"),
    ],
)
def test_credentials_that_do_not_fit_are_refused(values: Values, error: str) -> None:
    assert error in refusal(values)


def state_volumes(values: Values) -> list[str]:
    """Return the kinds of volumes that are mounted for the state."""
    claims = [claim["metadata"]["name"] for claim in stateful_set(values).get("volumeClaimTemplates", [])]
    volumes = [key for volume in pod(values)["volumes"] for key in volume if volume["name"] == "state"]
    mounts = [mount for mount in container(values)["volumeMounts"] if mount["name"] == "state"]
    assert len(mounts) == len(claims) + ("emptyDir" in volumes)
    return [*claims, *volumes]


def test_the_state_is_in_a_volume_for_each_shard() -> None:
    assert state_volumes({}) == ["state"]
    assert state_volumes({"config": {"state": None}}) == ["state"]
    [claim] = stateful_set(EVERYTHING)["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "10Gi"}}
    assert claim["spec"]["storageClassName"] == "ssd"
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_without_persistence_the_state_is_lost_with_the_pod() -> None:
    assert state_volumes(NOTHING) == ["name", "emptyDir"]


def test_with_redis_there_is_no_volume(secrets: Path) -> None:
    values = {"config": {"state": {"redis_url": "${CODEARTS_REDIS_URL}"}}}
    assert state_volumes(values) == []
    found = config(values, secrets, HUAWEICLOUD_SDK_AK="AK", CODEARTS_REDIS_URL="redis://cache").state
    assert found.redis_url is not None


def test_the_file_for_tls_and_passwords_comes_from_a_secret() -> None:
    values: Values = {"web": {"existingSecret": "web", "key": "config.yml"}}
    [flag] = [flag for flag in container(values)["args"] if flag.startswith("--web.config.file=")]
    folder, _, key = flag.partition("=")[2].rpartition("/")
    assert key == "config.yml"
    mounts = {mount["mountPath"]: mount["name"] for mount in container(values)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(values)["volumes"]}
    assert volumes[mounts[folder]]["secret"]["secretName"] == "web"


def probes(values: Values) -> list[dict[str, Any]]:
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    return [
        {key: value for key, value in container(values)[kind].items() if key in ("httpGet", "tcpSocket")}
        for kind in kinds
    ]


def test_probes_follow_the_web_configuration() -> None:
    plain = [
        {"httpGet": {"path": f"/-/{path}", "port": "metrics"}} for path in ("healthy", "healthy", "ready")
    ]
    assert probes({}) == plain
    tls = [{"httpGet": {**probe["httpGet"], "scheme": "HTTPS"}} for probe in plain]
    assert probes({"web": {"tls": True}}) == tls
    assert probes({"web": {"tls": True, "auth": True}}) == [{"tcpSocket": {"port": "metrics"}}] * 3


def test_prometheus_scrapes_each_pod_once_and_by_https_if_it_has_tls() -> None:
    def annotations(values: Values) -> dict[str, str]:
        found = stateful_set(values)["template"]["metadata"]["annotations"]
        return {key: value for key, value in found.items() if key.startswith("prometheus.io/")}

    assert annotations({}) == {"prometheus.io/scrape": "true", "prometheus.io/port": "10088"}
    assert annotations({"web": {"tls": True}})["prometheus.io/scheme"] == "https"
    assert (
        annotations({"podAnnotations": {"prometheus.io/scrape": "false"}})["prometheus.io/scrape"] == "false"
    )
    assert annotations(EVERYTHING) == {}
    [endpoint] = objects(EVERYTHING)["ServiceMonitor", NAME]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"


def test_the_endpoint_of_the_monitor_takes_any_key() -> None:
    more = {"targetLabel": "team", "replacement": "ci"}
    given = {"interval": "1m", "scheme": "http", "basicAuth": {}, "relabelings": [more]}
    values = {"web": {"tls": True}, "serviceMonitor": {"enabled": True, "endpoint": given}}
    [endpoint] = objects(values)["ServiceMonitor", NAME]["spec"]["endpoints"]
    job, last = endpoint.pop("relabelings")
    assert (job["targetLabel"], last) == ("job", more)
    assert endpoint == {
        "port": "metrics",
        "path": "/metrics",
        "interval": "1m",
        "scheme": "http",
        "basicAuth": {},
    }


def test_flags_environment_and_volumes_can_be_added() -> None:
    found = container(EVERYTHING)
    assert unknown_flags(found["args"]) == set()
    assert found["args"][-2:] == EVERYTHING["extraArgs"]
    assert EVERYTHING["extraEnv"][0] in found["env"]
    assert found["envFrom"] == EVERYTHING["extraEnvFrom"]
    assert EVERYTHING["extraVolumeMounts"][0] in found["volumeMounts"]
    assert EVERYTHING["extraVolumes"][0] in pod(EVERYTHING)["volumes"]
    for key in ("affinity", "imagePullSecrets", "nodeSelector", "priorityClassName", "tolerations"):
        assert pod(EVERYTHING)[key] == EVERYTHING[key]


def test_resources_can_be_changed_one_by_one() -> None:
    resources = container({"resources": {"limits": {"memory": "1Gi"}}})["resources"]
    assert resources["limits"] == {"memory": "1Gi", "ephemeral-storage": "256Mi"}
    assert resources["requests"].keys() == {"cpu", "memory", "ephemeral-storage"}
    assert "resources" not in container(NOTHING)


def test_the_image_is_given_by_tag_or_digest() -> None:
    image = {"repository": "swr.example.com:5000/ci/exporter", "tag": "0.10"}
    assert container({"image": image})["image"] == "swr.example.com:5000/ci/exporter:0.10"
    assert container(EVERYTHING)["image"] == f"registry.example.com/{NAME}@sha256:{'0' * 64}"


def test_the_network_policy_takes_namespaces_and_rules() -> None:
    policy = objects(EVERYTHING)["NetworkPolicy", NAME]["spec"]
    names = [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in policy["ingress"]
        for peer in rule["from"]
        if "namespaceSelector" in peer
    ]
    assert names == ["monitoring", "123"]
    assert policy["ingress"][-1] == EVERYTHING["networkPolicy"]["extraIngress"][0]
    assert policy["egress"][-1] == EVERYTHING["networkPolicy"]["extraEgress"][0]
    closed = objects({"networkPolicy": {"namespaces": []}})["NetworkPolicy", NAME]["spec"]
    assert not closed["ingress"]
    assert "Ingress" in closed["policyTypes"]


def test_an_account_that_exists_is_used() -> None:
    assert pod(NOTHING)["serviceAccountName"] == "default"
    own: Values = {"serviceAccount": {"create": False, "name": "own"}}
    assert pod(own)["serviceAccountName"] == "own"
    assert not [kind for kind, _ in objects(own) if kind == "ServiceAccount"]
