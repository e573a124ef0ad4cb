"""Which label values a job gets."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from exporter.config import parse
from exporter.model import Job
from exporter.watchlist import distinct, watched_jobs

FIRST, SECOND = "f9d6c8466d614a9788e9a0acf6c15f46", "48c66c6002964721be537cdc6ce0297b"
PROJECT = "b4d3971c3988463b865f6f920846149e"


def watched(jobs: str, more: str = "") -> tuple[Job, ...]:
    text = f"endpoint: https://example.com\nauth: {{token: x}}\njobs: {jobs}\n{more}"
    return watched_jobs(parse(text, source="test", environ={}, base_dir=Path()))


def test_a_bare_id_is_the_name_too() -> None:
    assert watched(f"[{FIRST}]") == (Job(FIRST, FIRST, "unknown"),)


def test_names_are_those_of_the_configuration() -> None:
    assert watched(f"[{{id: {FIRST}, name: checkout, project: shop}}]") == (Job(FIRST, "checkout", "shop"),)


def test_the_id_of_a_project_is_known_if_the_configuration_names_it() -> None:
    jobs = watched(
        f"[{{id: {FIRST}, name: checkout, project: shop}}]", f"projects: [{{id: {PROJECT}, name: shop}}]"
    )
    assert jobs == (Job(FIRST, "checkout", "shop", PROJECT),)


def test_jobs_of_one_name_carry_the_beginning_of_their_id() -> None:
    jobs = watched(f"[{{id: {FIRST}, name: checkout}}, {{id: {SECOND}, name: checkout}}]")
    assert [job.name for job in jobs] == ["checkout (f9d6c846)", "checkout (48c66c60)"]


def test_jobs_of_one_name_in_two_projects_keep_it() -> None:
    jobs = (Job(FIRST, "checkout", "shop"), Job(SECOND, "checkout", "elsewhere"))
    assert distinct(jobs) == jobs


def test_ids_may_begin_alike() -> None:
    first, second = "a" * 31 + "1", "a" * 31 + "2"
    names = [job.name for job in distinct([Job(first, "checkout", "shop"), Job(second, "checkout", "shop")])]
    assert names == [f"checkout (aaaaaaaa) ({first})", f"checkout (aaaaaaaa) ({second})"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a" * 31 + digit for digit in "0123456789"]), st.sampled_from("ab")),
        unique_by=lambda job: job[0],
    ),
    st.sampled_from(["a (aaaaaaaa)", "b (aaaaaaaa)", f"a (aaaaaaaa) ({'a' * 31}1)"]),
)
def test_no_two_jobs_ever_share_their_labels(jobs: list[tuple[str, str]], sly: str) -> None:
    given_jobs = [Job("z" * 32, sly, "shop"), *(Job(job_id, name, "shop") for job_id, name in jobs)]
    renamed = distinct(given_jobs)
    assert [job.id for job in renamed] == [job.id for job in given_jobs]
    assert len({(job.project, job.name) for job in renamed}) == len(renamed)
