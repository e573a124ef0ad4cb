"""TLS and passwords with a real Prometheus that has the same settings."""

from pathlib import Path

import pytest
import requests

from tests.cli.conftest import config, run, simulator, started
from tests.support.certificates import Authority, put
from tests.support.programs import Prometheus, answers, eventually, free_port, program, running
from tests.web.served import PASSWORD, RIGHT

__all__ = ["config", "simulator"]

WEB = (
    "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
    "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  min_version: TLS13\n"
    f"basic_auth_users:\n  prometheus: {RIGHT}\n"
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Write a web configuration, and the certificates that a client needs."""
    authority = Authority(tmp_path / "authority")
    put(authority.issue("server"), tmp_path)
    put(authority.issue("client", "DNS:prometheus.test"), tmp_path, "client")
    (tmp_path / "ca.pem").write_bytes(authority.certificate.read_bytes())
    (tmp_path / "web.yaml").write_text(WEB)
    return tmp_path


def test_prometheus_needs_the_right_password(config: Path, site: Path) -> None:
    flags = ["--web.listen-address=127.0.0.1:0", f"--web.config.file={site / 'web.yaml'}"]
    with started(f"--config.file={config}", *flags, log=site / "log") as serving:
        line = serving.says("event=listening")
        assert "scheme=https" in line
        address = line.partition("address=")[2].split()[0]
        port = free_port()
        jobs = "".join(
            f"  - job_name: {name}\n    scheme: https\n"
            "    tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}\n"
            f"    basic_auth: {{username: prometheus, password: '{password}'}}\n"
            f"    static_configs: [{{targets: ['{address}']}}]\n"
            for name, password in (("right", PASSWORD), ("wrong", "wrong"))
        )
        (site / "prometheus.yml").write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs:\n{jobs}")
        command = [
            program("prometheus"),
            f"--config.file={site / 'prometheus.yml'}",
            f"--storage.tsdb.path={site / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        url = f"http://127.0.0.1:{port}"
        with running(command, site / "prometheus.log"):
            eventually(lambda: answers(f"{url}/-/ready"), 60)
            prometheus = Prometheus(url)

            def up(job: str) -> list[float]:
                return list(prometheus.query(f'up{{job="{job}"}}').values())

            polled = 'sum by () (codearts_build_job_up{job="right"})'
            eventually(lambda: up("right") == [1.0] and up("wrong") == [0.0], 60)
            eventually(lambda: prometheus.query(polled) == {(): 3.0}, 60)
            put(Authority(site / "second").issue("server"), site)  # not trusted by Prometheus
            serving.says("event=web_config_reloaded")
            assert prometheus.query(polled) == {(): 3.0}
        certificate = (str(site / "client.pem"), str(site / "client.key"))
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(
                f"https://{address}/metrics", verify=str(site / "ca.pem"), cert=certificate, timeout=5
            )
        assert serving.end() == 0
        for secret in (PASSWORD, RIGHT):
            assert secret not in serving.output


def test_an_invalid_file_prevents_the_start(config: Path, site: Path) -> None:
    file = site / "web.yaml"
    file.write_text(WEB.replace("server.key", "nowhere.key"))
    ended = run(f"--config.file={config}", f"--web.config.file={file}", "--web.listen-address=127.0.0.1:0")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"codearts-build-exporter: {file}:3: tls_server_config.key_file: the file cannot be read: "
        "No such file or directory (relative paths start from this YAML file's folder)\n"
    )


def test_the_demo_accepts_a_web_configuration(site: Path) -> None:
    file = site / "web.yaml"
    file.write_text(f"basic_auth_users: {{alice: {RIGHT}}}\n")
    flags = ["--web.listen-address=127.0.0.1:0", f"--web.config.file={file}"]
    with started("demo", *flags, log=site / "log") as demo:
        url = demo.says("Metrics:").split()[1]
        eventually(lambda: requests.get(url, timeout=5).status_code == 401, 60)
        assert requests.get(url, auth=("alice", PASSWORD), timeout=5).ok
        assert demo.end() == 0
