"""The GitHub workflows are valid, have minimal permissions and no secrets, and run existing commands."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.deploy import assert_fits, document
from tests.test_locks import PYTHONS

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
FORMS = GITHUB / "ISSUE_TEMPLATE"
FILES = sorted((GITHUB / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, dict[str, Any]] = {file.stem: document(file) for file in FILES}
JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"]]

# Write permissions of jobs, and their purpose.
GRANTED = {
    ("release", "attest"): {"attestations", "id-token"},  # writes attestations, signed as this workflow
    ("release", "publish"): {"id-token"},  # trusted publishing: PyPI knows this workflow
    ("release", "image"): {"attestations", "id-token", "packages"},  # pushes to ghcr.io, signs, attests
    ("release", "announce"): {"contents"},  # makes the release of the tag
}


def job(name: str, title: str) -> dict[str, Any]:
    found: dict[str, Any] = WORKFLOWS[name]["jobs"][title]
    return found


def steps(name: str | None = None) -> list[dict[str, Any]]:
    return [
        step
        for workflow, title in JOBS
        if name in (None, workflow)
        for step in job(workflow, title).get("steps", [])
    ]


def shells() -> str:
    return "\n".join(step.get("run", "") for step in steps())


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", FILES),
        ("dependabot", [GITHUB / "dependabot.yml"]),
        ("github-issue-config", [FORMS / "config.yml"]),
        ("github-issue-forms", sorted({*FORMS.glob("*.yml")} - {FORMS / "config.yml"})),
    ],
)
def test_files_are_valid_by_their_schema(schema: str, files: list[Path]) -> None:
    assert_fits(schema, *files)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read_the_code(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}


@pytest.mark.parametrize(("name", "title"), JOBS)
def test_a_job_has_only_the_write_permissions_that_it_needs(name: str, title: str) -> None:
    permissions = job(name, title).get("permissions", {})
    written = {scope for scope, access in permissions.items() if access == "write"}
    assert written == GRANTED.get((name, title), set())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_only_secret_is_the_token_of_the_run(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert set(re.findall(r"\bsecrets\b[.\[\s]*['\"]?(\w*)", text)) <= {"GITHUB_TOKEN"}
    assert "secrets: inherit" not in text


def test_the_package_is_published_without_a_password() -> None:
    [publish] = [step for step in job("release", "publish")["steps"] if "pypi-publish" in step["uses"]]
    assert "with" not in publish
    assert job("release", "publish")["environment"] == "pypi"


def test_every_action_is_pinned_to_a_major_version() -> None:
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@(?:release/)?v\d+", action)] == []


def test_no_checkout_keeps_its_token() -> None:
    checkouts = [step for step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_expression_is_inserted_into_a_shell_command() -> None:
    assert "${{" not in shells()


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for line in re.findall(r"\bmake ([^\n]*)", shells()) for word in line.split()}
    named -= {"-C", "other/folder"}
    assert {"dist", "sbom"} <= named
    assert named <= targets


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:^|\s)(\.?[\w-]+/[\w./-]+)", shells()))))
def test_every_path_of_a_command_exists_or_is_created(path: str) -> None:
    created = ("dist/", "other/folder", "packages/", "sbom/")
    assert path.startswith(created) or (ROOT / path).exists()


@pytest.mark.parametrize(("name", "title"), JOBS)
def test_every_job_has_a_timeout(name: str, title: str) -> None:
    assert "uses" in job(name, title) or job(name, title)["timeout-minutes"] <= 60


@pytest.mark.parametrize("title", WORKFLOWS["test"]["jobs"])
def test_every_version_of_python_is_tested(title: str) -> None:
    assert job("test", title)["strategy"]["matrix"]["python"] == PYTHONS


def test_nothing_is_published_before_the_tests_have_passed() -> None:
    jobs = WORKFLOWS["release"]["jobs"]

    def before(title: str) -> set[str]:
        needed = jobs[title].get("needs", [])
        direct = {needed} if isinstance(needed, str) else set(needed)
        return direct.union(*(before(name) for name in direct))

    for title in jobs.keys() - {"test", "build"}:
        assert {"test", "build"} <= before(title)


def test_the_image_is_made_from_the_dockerfile_for_both_processors() -> None:
    [push] = [step["with"] for step in steps("release") if step.get("id") == "push"]
    assert (ROOT / push["file"]).is_file()
    assert push["platforms"].split(",") == ["linux/amd64", "linux/arm64"]


def test_dependabot_covers_folders_with_dependencies() -> None:
    updates = document(GITHUB / "dependabot.yml")["updates"]
    found = {entry["package-ecosystem"]: ROOT / entry["directory"].lstrip("/") for entry in updates}
    assert found.keys() == {"pip", "docker", "github-actions"}
    assert (found["pip"] / "pyproject.toml").is_file()
    assert (found["docker"] / "Dockerfile").is_file()
    assert (found["github-actions"] / ".github" / "workflows").is_dir()
