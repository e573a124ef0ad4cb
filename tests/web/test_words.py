"""The Chinese words of the status page: complete, used, and chosen by the browser."""

import ast
import re
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import Result, State
from exporter.poller.tasks_and_results import PollReason
from exporter.web.status import PageContext, PageQuery, status, words_for
from exporter.web.status.job_problems import EXPLANATIONS, Problem
from exporter.web.status.sparkline import RESULT_WORDS, sparkline
from exporter.web.status.view import HEADINGS
from exporter.web.status.words import CHINESE, ENGLISH, SIMPLIFIED_CHINESE
from tests.support.sites import NOW_MS
from tests.web.fleets import READINGS, ledger, many

WEB = Path(__file__).parents[2] / "exporter" / "web"
BRIEFS = {
    "error",
    "credentials refused",
    "API not published",
    "service error",
    "unreachable",
    "invalid response",
    "everything refused",
}
VALUES = {*RESULT_WORDS.values(), *Problem, *EXPLANATIONS.values(), *State, *PollReason, *HEADINGS.values()}


def literals(node: ast.expr) -> list[str]:
    """Return the texts that an argument can be."""
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in literals(value)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def texts_of_code() -> set[str]:
    found: set[str] = set()
    for path in WEB.glob("status/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("words", "self"):
                found.update(literals(node.args[0]) if node.args else [])
    return found


def texts_of_templates() -> set[str]:
    html = "".join(path.read_text() for path in WEB.glob("templates/*.html"))
    return set(re.findall(r'(?:\bt|\.words)\("([^"]+)"', html))


def fields(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def test_every_text_has_a_chinese_one_and_none_is_left_over() -> None:
    used = texts_of_code() | texts_of_templates() | VALUES | BRIEFS | {"d", "h", "min", "s"}
    used |= {"{count} × {result}", "at least {count} × {result}"}
    assert len(texts_of_code()) > 40
    assert len(texts_of_templates()) > 30
    assert used - CHINESE.keys() == set()
    assert CHINESE.keys() - used == set()


@pytest.mark.parametrize(("english", "chinese"), CHINESE.items())
def test_translations_have_the_same_values(english: str, chinese: str) -> None:
    assert fields(english) == fields(chinese)


def test_kinds_of_errors_are_those_that_the_page_can_show() -> None:
    from exporter import errors

    kinds = {error.brief for error in vars(errors).values() if hasattr(error, "brief")}
    refused = vars(__import__(Telemetry.__module__, fromlist=["_REFUSED"]))["_REFUSED"]
    assert kinds | {refused} == BRIEFS


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("zh", "zh-CN"),
        ("zh-Hant-TW", "zh-CN"),
        ("ZH-cn ; Q=0.5 , en ; q=0.4", "zh-CN"),
        ("en;q=0.4, zh;q=0.5", "zh-CN"),
        ("fr-FR, zh;q=0.2", "zh-CN"),
        ("zh, en", "zh-CN"),
        ("en, zh", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("zh;q=0", "en"),
        ("zh;q=nan, en;q=0.1", "en"),
        ("zh;q=x", "en"),
        ("zhuang", "en"),
    ],
)
def test_the_language_is_the_one_that_the_browser_ranks_highest(header: str, tag: str) -> None:
    assert words_for(header).tag == tag


@given(st.text())
def test_any_header_has_a_language(header: str) -> None:
    assert words_for(header) in (ENGLISH, SIMPLIFIED_CHINESE)


def test_times_and_numbers_read_well_in_chinese() -> None:
    words = SIMPLIFIED_CHINESE
    assert words.length(7_500_000) == "2\xa0小时 5\xa0分钟"
    assert (words.length(4249), words.length(None)) == ("4.2\xa0秒", "–")
    assert (words.ago(3 * 86_400_000), words.jobs(1200)) == ("3\xa0天前", "1,200 个构建任务")
    assert words.api_trouble("credentials refused (401)") == "凭证被拒绝 (401)"
    drawn = sparkline(ledger(*[Result.SUCCESS] * 2, Result.FAILURE), NOW_MS, words)
    assert drawn.text == "最近 3 次构建：2 成功，1 失败；最新一次 #3 失败"
    assert drawn.bars[-1].title == "#3 失败，2\xa0分钟，5\xa0分钟前"


def test_a_page_in_chinese_has_the_same_jobs() -> None:
    pages = [
        status(many(250), PageContext(READINGS, PageQuery(), NOW_MS, 10**7, words=words))
        for words in (ENGLISH, SIMPLIFIED_CHINESE)
    ]
    english, chinese = ([row.job for row in page.rows] for page in pages)
    assert english == chinese
    assert pages[1].paging.text == "第 1–100 个，共 250 个构建任务"


def test_the_documentation_has_each_reason_for_a_poll() -> None:
    page = (WEB.parents[1] / "docs" / "operations.md").read_text()
    described = {line.split(" | ")[0].removeprefix("| ") for line in page.splitlines()}
    assert {reason.partition(";")[0] for reason in PollReason} <= {
        line.partition(";")[0] for line in described
    }
