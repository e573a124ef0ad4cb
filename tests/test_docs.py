"""The documents match the code: metrics, flags, targets, links, snippets, versions, log events.

The Chinese README matches the English one, section by section, in everything that a translation keeps.
"""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from exporter import __version__
from exporter.cli.commands import cli
from exporter.config import parse
from exporter.web.basic_auth import compare
from exporter.web.web_config import parse as parse_web_config
from tests.config.test_example import SECTIONS
from tests.support.certificates import Authority, put
from tests.support.exposition import DECLARED
from tests.support.languages import badly_set, differences
from tests.support.markdown import anchors, cells, coded, fences, images, links, prose
from tests.support.programs import run_program

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])

METRICS = {metric.name: metric for metric in DECLARED}
METRIC = re.compile(r"\bcodearts_build_[a-z_]*[a-z]\b(?!_?\*)")
PARTS = re.compile(r"_(?:bucket|sum|count)$")
FLAG = re.compile(r"--[a-z][a-z0-9.-]*[a-z0-9]")
JOINED = re.compile(r"""[\w.,;:)](?<!\\n)["']\n\s*f?["'][\w(].*""")
CONFIG_MARK = "# config.yaml\n"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


README = text("README.md")
CHINESE = text("README.zh-CN.md")


def rows(document: str, header: str) -> list[list[str]]:
    """Return the cells of every table whose first column has this header."""
    found: list[list[str]] = []
    inside = False
    for line in document.splitlines():
        row = cells(line)
        if not row:
            inside = False
        elif row[0] == header:
            inside = True
        elif inside and not set(row[0]) <= set("-:"):
            found.append(row)
    return found


def flags_of(*command: str) -> set[str]:
    result = CliRunner().invoke(cli, [*command, "--help"])
    assert result.exit_code == 0, result.output
    return flags_in(result.output)


def flags_in(help_text: str) -> set[str]:
    return set(re.findall(rf"^  (?:-\w, )?({FLAG.pattern})", help_text, re.MULTILINE))


def internal_links() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        content = document.read_text(encoding="utf-8")
        for target in (*links(content), *images(content)):
            if not re.match(r"https?:", target):
                yield name_of(document), target


def test_docs_metrics_explains_every_metric_with_its_type_and_labels() -> None:
    entries = re.findall(
        r"^### `(\w+)`\n\n.+\n\n(Counter|Gauge|Histogram)(.*)\.$", text("docs/metrics.md"), re.MULTILINE
    )
    listed = {name: (kind.lower(), tuple(coded(labels))) for name, kind, labels in entries}
    assert listed == {metric.name: (str(metric.kind), metric.labels) for metric in DECLARED}


def test_the_overview_of_the_metrics_lists_each_once_with_its_type() -> None:
    listed = [(name, row[1]) for row in rows(text("docs/metrics.md"), "metric") for name in coded(row[0])]
    assert sorted(listed) == sorted((metric.name, str(metric.kind)) for metric in DECLARED)


def test_the_readme_names_some_of_the_metrics_with_a_link_to_all() -> None:
    listed = [name for row in rows(README, "metric") for name in coded(row[0])]
    assert len(listed) == len(set(listed)) == 8
    assert "docs/metrics.md" in links(README)


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_a_readme_has_at_most_250_lines_and_no_help_of_commands(name: str) -> None:
    assert len(text(name).splitlines()) <= 250
    assert "Usage:" not in text(name)


def test_the_readme_links_to_every_page() -> None:
    assert {name_of(path) for path in ROOT.glob("docs/*.md")} <= set(links(README))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_document_names_an_unknown_metric(document: Path) -> None:
    named = {PARTS.sub("", name) for name in METRIC.findall(document.read_text(encoding="utf-8"))}
    assert named - METRICS.keys() == set()


def test_the_command_line_page_shows_the_flags_of_serve_and_the_commands() -> None:
    page = fences(text("docs/command-line.md"), "text")
    [flags] = [body for body in page if " serve [OPTIONS]" in body]
    assert flags_in(flags) == flags_of("serve")
    [commands] = [body for body in page if "\nCommands:\n" in body]
    assert set(re.findall(r"^  ([a-z][a-z-]+)  ", commands, re.MULTILINE)) == cli.commands.keys()


def test_the_command_line_page_shows_every_command_with_its_flags() -> None:
    parts = re.split(r"^## (\S+)$", text("docs/command-line.md"), flags=re.MULTILINE)[1:]
    listed = {name: flags_in(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}
    assert listed == {name: flags_of(name) for name in cli.commands}


def test_the_configuration_page_lists_the_flags_of_serve() -> None:
    listed = {flag for row in rows(text("docs/configuration.md"), "flag") for flag in coded(row[0])}
    assert listed == flags_of("serve") - {"--help"}


def test_the_configuration_page_lists_every_key() -> None:
    listed = {coded(row[0])[0].rpartition(".")[2] for row in rows(text("docs/configuration.md"), "key")}
    assert listed == {key for section in SECTIONS for key in section.model_fields}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_flag_in_the_prose_exists(document: Path) -> None:
    known = flags_of().union(*(flags_of(name) for name in cli.commands))
    content = prose(document.read_text(encoding="utf-8"))
    named = {
        flag
        for code in coded(content)
        if not code.startswith(("pip ", "docker ", "helm ", "kubectl ", "make ", "prometheus "))
        for flag in FLAG.findall(code)
    }
    assert named - known == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_make_target_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    content = document.read_text(encoding="utf-8")
    named = {target for code in coded(prose(content)) for target in re.findall(r"^make ([a-z]+)", code)}
    named |= {
        target for body in fences(content, "sh") for target in re.findall(r"^make ([a-z]+)", body, re.M)
    }
    assert named - targets == set()


@pytest.mark.parametrize(("document", "target"), sorted(set(internal_links())))
def test_every_internal_link_has_a_target(document: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (ROOT / document).parent / path if path else ROOT / document
    assert file.exists()
    if anchor:
        assert anchor in anchors(file.read_text(encoding="utf-8"))


def config_snippets() -> list[str]:
    bodies = [body for document in DOCUMENTS for body in fences(document.read_text(encoding="utf-8"), "yaml")]
    return [body for body in bodies if body.startswith(CONFIG_MARK)]


def sections(config: str) -> dict[str, str]:
    """The text of each top-level section."""
    return {match[1]: match[0] for match in re.finditer(r"^(\w+):.*\n(?:[ ].*\n)*", config, re.MULTILINE)}


def test_the_first_configuration_of_the_readme_is_a_whole_one() -> None:
    assert sections(fences(README, "yaml")[0]).keys() == {"region", "auth", "jobs"}


@pytest.mark.parametrize("snippet", config_snippets())
def test_every_configuration_in_the_documents_loads(snippet: str, tmp_path: Path) -> None:
    whole = "".join((sections(fences(README, "yaml")[0]) | sections(snippet)).values())
    for path in re.findall(r"_file: (\S+)", whole):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("made-up\n")
    names = re.findall(r"\$\{(\w+)\}", whole)
    environ = {name: "redis://cache" if name.endswith("_URL") else "made-up" for name in names}
    parse(whole, source="README.md", environ=environ, base_dir=tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_other_yaml_is_valid(document: Path) -> None:
    for body in fences(document.read_text(encoding="utf-8"), "yaml"):
        list(yaml.safe_load_all(body))


def test_the_web_configuration_of_the_tls_page_loads(tmp_path: Path) -> None:
    [snippet] = [body for body in fences(text("docs/tls.md"), "yaml") if body.startswith("# web.yaml")]
    put(Authority(tmp_path / "authority").issue("server"), tmp_path)
    shutil.copy(tmp_path / "authority" / "ca.pem", tmp_path)
    users = parse_web_config(snippet, source="docs/tls.md", base_dir=tmp_path).users
    assert compare(b"example", users[b"prometheus"].get_secret_value().encode())


def test_prometheus_accepts_the_queries_of_the_queries_page(tmp_path: Path) -> None:
    queries = fences(text("docs/queries.md"), "promql")
    assert len(queries) >= 5
    rules = [{"record": f"query:{index}", "expr": query} for index, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    run_program("promtool", "check", "rules", file)


def test_prometheus_accepts_the_scrape_configuration_of_the_readme(tmp_path: Path) -> None:
    [snippet] = [body for body in fences(README, "yaml") if body.startswith("# prometheus.yml")]
    file = tmp_path / "prometheus.yml"
    file.write_text(snippet)
    run_program("promtool", "check", "config", file)


def test_the_newest_version_in_the_changelog_is_this_one_or_not_released_yet() -> None:
    versions = re.findall(r"^## \[([^\]]+)\]", text("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] in ("Unreleased", __version__)


def test_the_operations_guide_explains_every_event_of_the_log() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in ROOT.glob("exporter/**/*.py"))
    logged = set(re.findall(r"_log\.\w+\(\s*\"(\w+)\"", sources))
    explained = {event for row in rows(text("docs/operations.md"), "event") for event in coded(row[0])}
    assert explained == logged


def test_no_string_on_two_lines_lacks_a_space() -> None:
    sources = [file for folder in ("exporter", "grafana", "tools") for file in ROOT.glob(f"{folder}/**/*.py")]
    assert len(sources) > 100
    joined = {
        name_of(file): found
        for file in sources
        if (found := JOINED.findall(file.read_text(encoding="utf-8")))
    }
    assert joined == {}


def test_the_chinese_readme_matches_the_english_one() -> None:
    found = differences(README, CHINESE)
    assert not found, "README.md / README.zh-CN.md differ in\n" + "\n".join(found)


def test_the_chinese_readme_follows_chinese_typography() -> None:
    assert badly_set(CHINESE) == []


ENGLISH_PAGE = """\
# Thing

Two | Three: [the other](README.zh-CN.md), [below](#set-up).

## Set up

![A picture](docs/images/status.png)

Wait 1,000 s for `thing`, then look into [the guide](docs/backfill.md).

```sh
# what it is for
thing --start  # now
```

| key | meaning |
|---|---|
| `a` | first, not `b` |
"""
CHINESE_PAGE = """\
# 某物

二｜三：[另一种语言](README.md)，[下文](#安装与配置)。

## 安装与配置

![图](docs/images/status.png)

等待 1,000 秒，直到 `thing` 就绪，再查看[指南](docs/backfill.md)。

```sh
thing --start  # 现在
```

| 键 | 含义 |
|---|---|
| `a` | 第一个，不是 `b` |
"""


def test_two_languages_may_differ_in_words_order_within_a_sentence_and_comments() -> None:
    assert differences(ENGLISH_PAGE, CHINESE_PAGE) == []
    assert badly_set(CHINESE_PAGE) == []


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("thing --start", "thing --begin", "code blocks: ['thing --start'] / ['thing --begin']"),
        ("```sh", "```text", "blocks: ['code block (sh)'] / ['code block (text)']"),
        ("不是 `b`", "不是 `c`", """tables: ["['a'] | ['b']"] / ["['a'] | ['c']"]"""),
        ("| `a` | 第一个，不是 `b` |\n", "", "blocks: ['table of 3 lines'] / ['table of 2 lines']"),
        ("`thing`", "它", "code: ['thing'] / []"),
        ("1,000", "100", "numbers: ['1,000'] / ['100']"),
        ("docs/backfill.md", "docs/metrics.md", "links: ['docs/backfill.md'] / ['docs/metrics.md']"),
        ("images/status.png", "images/scrape.png", "pictures: ['docs/images/status.png']"),
        ("再查看", "\n\n再查看", "blocks: [] / ['paragraph']"),
    ],
)
def test_a_difference_between_two_languages_is_reported_with_its_section(
    old: str, new: str, difference: str
) -> None:
    assert old in CHINESE_PAGE
    found = differences(ENGLISH_PAGE, CHINESE_PAGE.replace(old, new))
    assert any(line.startswith(f"Set up / 安装与配置: {difference}") for line in found), found


def test_a_link_to_another_heading_is_reported_with_the_anchor_of_the_first_language() -> None:
    found = differences(ENGLISH_PAGE, CHINESE_PAGE.replace("#安装与配置", "#某物"))
    assert found == ["Thing / 某物: links: ['#set-up'] / ['#thing']"]


def test_a_missing_heading_is_reported_with_its_part() -> None:
    more = "\n### Here\n"
    found = differences(ENGLISH_PAGE + more, CHINESE_PAGE)
    assert found == ["Set up / 安装与配置: headings: ['Here'] / []"]
    assert differences(ENGLISH_PAGE + more.replace("###", "##"), CHINESE_PAGE) == [
        "parts: ['Thing', 'Set up', 'Here'] / ['某物', '安装与配置']"
    ]


@pytest.mark.parametrize(
    "text",
    ["构建job", "构建`job`", "3个", "构建, 任务", "构建 (任务", "构建 。", "构建\n任务", "**构建。**任务"],
)
def test_violations_of_chinese_typography_are_reported(text: str) -> None:
    assert len(badly_set(text)) == 1


def test_anchors_are_those_of_github() -> None:
    page = (
        "# TLS 与密码\n\n```sh\n# no heading\n```\n\n"
        "## 仪表盘、告警（*Fleet*）\n## `serve`: [it](x.md)\n## Set-up\n## Set-up\n"
    )
    assert anchors(page) == ["tls-与密码", "仪表盘告警fleet", "serve-it", "set-up", "set-up-1"]


ODD_WORDS = re.compile(r"\b(anew|borne|in vain|to be had|comes? about|told|tells)\b", re.IGNORECASE)


PLAIN_TESTS = (
    *(
        "config",
        "deploy",
        "doctor",
        "e2e",
        "exposition",
        "fuzz",
        "grafana",
        "ledger",
        "metrics",
        "prometheus",
    ),
    *("simulator", "support", "web"),
)
"""The folders of tests in plain English."""
PLAIN_CODE = [
    *("exporter/**/*.py", "benchmarks/**/*.py", "grafana/**/*.py", "tools/**/*.py", "tests/*.py"),
    *(f"tests/{folder}/**/*.py" for folder in PLAIN_TESTS if folder != "simulator"),
]
PLAIN_FILES = [
    *("*.md", "docs/**/*.md", "Makefile", "*.yaml", "prometheus/**/*.yml", ".github/**/*.yml", ".ci/*"),
    *("deploy/**/*.*", "deploy/docker/*", "grafana/dashboards/*.json", "tests/e2e/*.js"),
]


def docstrings(file: Path) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, documented) and (found := ast.get_docstring(node)):
            yield found


def test_no_docstring_begins_with_a_question_word() -> None:
    questions = re.compile(r"(What|Which|Whether|How|Who|Whose|When|Where|Why)\b")
    asking = [
        (name_of(file), found.splitlines()[0])
        for pattern in PLAIN_CODE
        for file in ROOT.glob(pattern)
        for found in docstrings(file)
        if questions.match(found)
    ]
    assert asking == []


@pytest.mark.parametrize("pattern", [*PLAIN_CODE, "tests/simulator/*.py", *PLAIN_FILES])
def test_no_text_has_an_old_fashioned_word(pattern: str) -> None:
    found = {
        f"{name_of(file)}: {match.group()}"
        for file in ROOT.glob(pattern)
        if file.is_file() and file != Path(__file__)
        for match in ODD_WORDS.finditer(file.read_text(encoding="utf-8"))
    }
    assert found == set()
