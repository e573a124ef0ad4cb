"""The status page as a server sends it."""

import re
import socket
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from hatchling.builders.wheel import WheelBuilder

from exporter.metrics import FleetView
from exporter.metrics.exporter_metrics import Readings
from exporter.model import ConsoleLinks, Result
from exporter.poller.tasks_and_results import PlannedPoll, PollReason
from exporter.web.status import PageQuery
from exporter.web.status_page import StatusPage
from tests.support.programs import eventually
from tests.support.sites import Fleet
from tests.web.fleets import READINGS, ledger, many, serving, view

ROOT = Path(__file__).parents[2]

NASTY = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover=alert(1) x='",
    "&lt;b&gt; &amp;",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnilaeh\u202c\u2066\u200f",
    "one\ntwo\r\nthree\ttab",
    "\x00\x08\x1b[31m\x7f",
    "half \ud83d a character",
    "长" * 300,
    "a" * 300,
    "]]>--><!--",
)


class Read(HTMLParser):
    """A parsed page: elements with attributes, and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(many(250)) as url:
        yield url


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()}, timeout=10)


def test_links_to_the_console_are_escaped_and_send_no_referrer() -> None:
    links = ConsoleLinks("https://console/?a=1&b={job_id}", "https://console/{job_id}/{build_number}")
    [row] = many(1).jobs
    site = Fleet(FleetView((row,)), links=links)
    html = StatusPage(site, lambda: READINGS, "/metrics").html(PageQuery())
    assert f"https://console/?a=1&amp;b={row.job.id}" in html
    links_out = [
        link for link in Read(html).named("a") if (link["href"] or "").startswith("https://console/")
    ]
    assert [link["href"] for link in links_out] == [
        links.job(row.job),
        links.build(row.job, row.ledger.last.number if row.ledger and row.ledger.last else 0),
    ]
    assert {link["rel"] for link in links_out} == {"noreferrer"}
    job = StatusPage(site, lambda: READINGS, "/metrics").job_html(row.job.id, PageQuery())
    assert job
    outward = [link for link in Read(job).named("a") if (link["href"] or "").startswith("https://console/")]
    assert [link["href"] for link in outward[:2]] == [
        links.job(row.job),
        links.build(row.job, row.ledger.last.number if row.ledger and row.ledger.last else 0),
    ]
    assert len(outward) == 21
    assert {link["rel"] for link in outward} == {"noreferrer"}


def test_the_page_shows_version_and_links(url: str) -> None:
    page = get(url)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "exporter 1.2.3, revision <bdi>0123456789ab</bdi>" in page.text
    assert "<title>8 of 250 jobs with problems – CodeArts Build</title>" in page.text
    links = {attributes["href"] for attributes in Read(page.text).named("a")}
    assert {"./metrics", "./-/healthy", "./-/ready"} < links
    assert {link for link in links if link and not link.startswith(("./", "?", "#"))} == {
        "https://github.com/codearts-build-exporter/codearts-build-exporter#readme"
    }


@pytest.mark.parametrize("path", ["/metrics", "/deep/down", "/a:b"])
def test_links_are_relative_for_proxies(path: str) -> None:
    page = StatusPage(Fleet(many(250)), lambda: READINGS, path)
    below = "https://proxy.test/codearts/"
    job = page.job_html("id-of-job-00007", PageQuery())
    assert job
    for html, at in ((page.html(PageQuery(text="job", page=2)), ""), (job, "jobs/id-of-job-00007")):
        links = {
            urljoin(f"{below}{at}", link)
            for _, attributes in Read(html).elements
            for name in ("href", "src", "action")
            if (link := attributes.get(name)) and not link.startswith("https://github.com/")
        }
        assert [link for link in links if not link.startswith(below)] == []
        own = {below, f"{below}{at}?refresh=off"} if at else {f"{below}jobs/id-of-job-00100"}
        assert links >= {f"{below}{path[1:]}", f"{below}-/ready", *own}


def test_security_headers_are_strict(url: str) -> None:
    headers = get(url).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"unsafe|script-src|https?:|\*", policy)
    assert "frame-ancestors 'none'" in policy
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")


def test_the_page_needs_no_laxer_policy(url: str) -> None:
    elements = Read(get(url).text).elements
    assert {"script", "style", "iframe", "object", "base"} & {tag for tag, _ in elements} == set()
    assert not [name for _, attributes in elements for name in attributes if name.startswith(("on", "style"))]


def test_static_files_are_cached_under_urls_that_change(url: str) -> None:
    page = Read(get(url).text)
    files = {attributes["href"] for attributes in page.named("link")}
    assert len(files) == 2
    for file in files:
        assert re.fullmatch(r"\./-/[a-z]+\.(css|svg)\?[0-9a-f]{12}", str(file))
        answer = get(f"{url}/{file}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].partition(";")[0] in ("text/css", "image/svg+xml")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_head_is_get_without_a_body(url: str) -> None:
    head = requests.head(url, timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("accept_encoding", ["identity", "gzip", "gzip;q=0"])
def test_the_page_is_compressed_for_clients_that_accept_gzip(url: str, accept_encoding: str) -> None:
    answer = get(url, Accept_Encoding=accept_encoding)
    assert answer.headers.get("content-encoding") == ("gzip" if accept_encoding == "gzip" else None)
    assert answer.headers["vary"] == "Accept-Encoding, Accept-Language"
    assert answer.text.rstrip().endswith("</html>")


@pytest.mark.parametrize(
    "query", ["?page=x&page=2", "?trouble=%00", "?text=%ff%fe", "?nothing=1&project", "?&&=;="]
)
def test_every_query_is_answered(url: str, query: str) -> None:
    assert get(f"{url}/{query}").status_code == 200


def test_filters_and_pages_come_from_the_query(url: str) -> None:
    page = get(f"{url}/?project=project-001&text=JOB-0010&trouble=failing").text
    assert re.findall(r"job-\d{5}(?=</bdi>)", page) == ["job-00107"]
    assert '<option value="project-001" selected>' in page
    assert 'value="JOB-0010"' in page
    assert '<input type="hidden" name="trouble" value="failing">' in page
    assert "Page 3 of 3" in get(f"{url}/?page=3").text


def page_about(name: str) -> Read:
    """One job of that name, in a project of that name, which is asked for."""
    fleet = FleetView((view(name, ledger(Result.SUCCESS), project=name),))
    page = StatusPage(Fleet(fleet), lambda: READINGS, "/metrics")
    return Read(page.html(PageQuery(project=name)).encode("utf-8", "replace").decode())


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_job_names_are_escaped(name: str) -> None:
    read, plain = page_about(name), page_about("x")
    shown = name.encode("utf-8", "replace").decode()
    assert read.text.count(shown) == 3
    assert shown in {attributes.get("value") for attributes in read.named("option")}
    assert [(tag, [*attributes]) for tag, attributes in read.elements] == [
        (tag, [*attributes]) for tag, attributes in plain.elements
    ]


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_the_page_of_a_job_escapes_names_and_errors(name: str) -> None:
    def read(name: str) -> Read:
        job = view(name, ledger(Result.SUCCESS), project=name, up=False, failure=name)
        page = StatusPage(Fleet(FleetView((job,))), lambda: READINGS, "/metrics")
        html = page.job_html(job.job.id, PageQuery())
        assert html
        return Read(html.encode("utf-8", "replace").decode())

    assert read(name).text.count(name.encode("utf-8", "replace").decode()) == 3
    assert [(tag, [*attributes]) for tag, attributes in read(name).elements] == [
        (tag, [*attributes]) for tag, attributes in read("x").elements
    ]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_query_parameters_are_escaped(url: str, text: str) -> None:
    sent = text.encode("utf-8", "replace")
    read = Read(requests.get(url, params={"text": sent, "project": sent}, timeout=10).text)
    assert "No job matches" in read.text
    assert not read.named("script")
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]


def test_each_job_has_a_page(url: str) -> None:
    links = [a["href"] for a in Read(get(f"{url}/?text=job-00107").text).named("a")]
    [link] = [link for link in links if link and link.startswith("./jobs/")]
    answer = get(urljoin(f"{url}/", link))
    assert answer.status_code == 200
    assert "job-00107 – CodeArts Build</title>" in answer.text
    assert '<td role="cell" class="result"><span class="result-name failure">' in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert requests.head(urljoin(f"{url}/", link), timeout=10).status_code == 200


@pytest.mark.parametrize("name", ["a/b", "a b?#%&", "..", "长\u202e"])
def test_a_job_with_a_strange_id_has_a_page_too(name: str) -> None:
    job = view(name, ledger(Result.SUCCESS))
    with serving(FleetView((replace(job, job=replace(job.job, id=f"{name}/{name}")),))) as url:
        [link] = [a["href"] for a in Read(get(url).text).named("a") if "/jobs/" in str(a["href"])]
        assert get(f"{url}/{str(link)[2:]}").status_code == 200


@pytest.mark.parametrize("path", ["/jobs/nowhere", "/jobs/", "/jobs/<b>", "/jobs/a/b/../../c", "/jobs/%00"])
def test_an_unknown_job_has_a_message(url: str, path: str) -> None:
    answer = get(f"{url}{path}")
    assert answer.status_code == 404
    if "text/html" in answer.headers["content-type"]:
        assert "No such job" in answer.text
        assert "<b>" not in answer.text


def test_the_page_of_a_job_shows_when_it_is_polled_next_and_why() -> None:
    fleet = Fleet(many(3), planned=PlannedPoll(42, PollReason.VERIFIED))
    html = StatusPage(fleet, lambda: READINGS, "/metrics").job_html("id-of-job-00001", PageQuery())
    assert html
    assert "in 42\xa0s" in html
    assert "nothing new in the job lists, which are verified now and then" in html


@pytest.mark.parametrize("path", ["/", "/jobs/id-of-job-00001", "/jobs/nowhere"])
def test_pages_are_refreshed_unless_that_is_switched_off(url: str, path: str) -> None:
    for query, expected in (("", ["30"]), ("?refresh=off", []), ("?refresh=x", ["30"])):
        read = Read(get(f"{url}{path}{query}").text)
        metas = [meta["content"] for meta in read.named("meta") if meta.get("http-equiv") == "refresh"]
        assert metas == expected
        [switch] = {a["href"] for a in read.named("a") if str(a["href"]).startswith("?")}
        assert switch == ("?refresh=off" if expected else "?")


@pytest.mark.parametrize("path", ["/", "/jobs/id-of-job-00001", "/jobs/nowhere"])
def test_the_language_is_the_browser_s(url: str, path: str) -> None:
    english, chinese = get(f"{url}{path}"), get(f"{url}{path}", Accept_Language="zh-CN,zh;q=0.9,en;q=0.8")
    assert '<html lang="en">' in english.text
    assert '<html lang="zh-CN">' in chinese.text
    assert "指标" in chinese.text
    assert "Metrics" not in chinese.text
    assert chinese.headers["vary"] == "Accept-Encoding, Accept-Language"


def test_a_fleet_without_jobs_has_a_message() -> None:
    with serving(FleetView()) as url:
        page = get(url).text
    assert "No jobs yet" in page
    assert "<table" not in page
    assert "<title>CodeArts Build</title>" in page


def test_filters_without_a_match_have_a_message(url: str) -> None:
    page = get(f"{url}/?text=nowhere").text
    assert "No job matches" in page
    assert '<a href="./">Show all jobs</a>' in page


def test_a_slow_page_delays_no_other_request() -> None:
    held, going = threading.Event(), threading.Event()

    def readings() -> Readings:
        going.set()
        held.wait(30)
        return READINGS

    with serving(many(1), readings) as url:
        asking = threading.Thread(target=get, args=[url])
        asking.start()
        assert going.wait(5)
        assert get(f"{url}/metrics").status_code == get(f"{url}/-/healthy").status_code == 200
        assert asking.is_alive()
        held.set()
        asking.join(10)


def test_disconnected_readers_leave_the_queue_which_is_bounded() -> None:
    held, asked = threading.Event(), []

    def readings() -> Readings:
        asked.append(1)
        held.wait(30)
        return READINGS

    with serving(many(1), readings) as url, ThreadPoolExecutor(40) as pool:
        first = pool.submit(get, url)
        eventually(lambda: len(asked) == 1, 10)
        host, _, port = url.removeprefix("http://").partition(":")
        for _ in range(100):
            with socket.create_connection((host, int(port)), timeout=10) as dropped:
                dropped.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        others = [pool.submit(get, url) for _ in range(20)]
        eventually(lambda: sum(other.done() for other in others) == 4, 10)
        held.set()
        statuses = [one.result().status_code for one in (first, *others)]
    assert (statuses.count(200), statuses.count(429)) == (17, 4)
    assert len(asked) == 17


def test_the_wheel_contains_templates_and_static_files(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    held = set(zipfile.ZipFile(wheel).namelist())
    kept = {
        path
        for part in ("templates", "static", "translations")
        for path in ROOT.glob(f"exporter/web/{part}/*")
    }
    assert len(kept) >= 3
    assert {path.relative_to(ROOT).as_posix() for path in kept} <= held
