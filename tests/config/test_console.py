"""Links to the console: their templates in the configuration, and the URLs that are made of them."""

import pytest

from exporter.model import ConsoleLinks, Job
from tests.config.helpers import JOB, PROJECT, complaint_about, read, read_with

SECTION = """
console:
  job_url: https://console.example/{region}/p/{project_id}/#/{job_id}?x=1
  build_url: https://console.example/{region}/{job_id}/{build_number}/log
"""


def test_placeholders_are_replaced_by_the_region_the_ids_and_the_number() -> None:
    links = read_with(SECTION).links
    job = Job(JOB, "checkout", "shop", PROJECT)
    assert links.job(job) == f"https://console.example/cn-north-4/p/{PROJECT}/#/{JOB}?x=1"
    assert links.build(job, 532) == f"https://console.example/cn-north-4/{JOB}/532/log"


def test_without_the_section_there_are_no_links() -> None:
    job = Job(JOB, "checkout", "shop", PROJECT)
    links = read_with("").links
    assert (links.job(job), links.build(job, 1)) == ("", "")


def test_a_link_waits_until_the_project_is_known_only_if_its_template_needs_that() -> None:
    links = read_with(SECTION).links
    job = Job(JOB, "checkout", "unknown")
    assert links.job(job) == ""
    assert links.build(job, 7) == f"https://console.example/cn-north-4/{JOB}/7/log"


def test_ids_of_the_service_cannot_change_the_rest_of_a_url() -> None:
    links = ConsoleLinks("https://console.example/{project_id}/{job_id}")
    job = Job("a/../b", "checkout", "shop", 'x?"><{job_id}')
    assert links.job(job) == "https://console.example/x%3F%22%3E%3C%7Bjob_id%7D/a%2F..%2Fb"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "job_url: https://x/{job}",
            "has the unknown placeholder {job}; known are {region}, {project_id}",
        ),
        (
            "job_url: https://x/{job_id}/{build_number}",
            "has the unknown placeholder {build_number}",
        ),
        ("job_url: https://x/{job_id", "has the unknown placeholder {; known are"),
        ("job_url: https://x/", "must contain {job_id}, so that each link leads elsewhere"),
        ("build_url: https://x/{job_id}", "must contain {build_number}, so that each link leads elsewhere"),
        ("job_url: javascript://x/{job_id}", "must be a URL that begins with https:// or http://, without"),
        ("job_url: https://{job_id} x", "must be a URL that begins with https:// or http://, without"),
        ("job_url: 'https://x/\"{job_id}'", "must be a URL that begins with https:// or http://, without"),
        ("job_url: https://u:p@x/{job_id}", "must not contain a user name or password"),
        ("job_url: https:///{job_id}", "must be a URL that begins with https:// or http://, without"),
    ],
)
def test_a_wrong_template_is_refused(line: str, message: str) -> None:
    key = line.partition(":")[0]
    assert complaint_about(f"console:\n  {line}\n").startswith(f"config.yaml:5: console.{key}: {message}")


def test_a_region_in_a_template_has_to_be_configured() -> None:
    text = f"endpoint: https://x\nauth: {{token: made-up}}\njobs: [{JOB}]\n{SECTION}"
    with pytest.raises(Exception, match=r"console: has a URL with \{region\}, but there is no key region"):
        read(text)
