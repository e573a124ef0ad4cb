"""The words of the status page, in English and Chinese.

English is in the code and the templates; `CHINESE` has everything else. Names of jobs, and errors in the
service's own words, stay as they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from exporter import text
from exporter.exposition.formats import choices

_SPACE: Final = "\N{NO-BREAK SPACE}"

CHINESE: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Units and counts
        "d": "天",
        "h": "小时",
        "min": "分钟",
        "s": "秒",
        "{age} ago": "{age}前",
        "job": "个构建任务",
        ", ": "，",
        ".": "。",
        # The frame of every page
        "CodeArts Build": "编译构建（CodeArts Build）",
        "exporter {version}": "exporter {version}",
        "revision": "修订版",
        "Exporter": "exporter",
        "Metrics": "指标",
        "Health": "健康检查",
        "Readiness": "就绪检查",
        "Console": "控制台",
        "Docs": "文档",
        "As of": "截至",
        "Refreshed every {seconds} s.": "每 {seconds} 秒刷新一次。",
        "Switch off": "关闭",
        "Not refreshed.": "未自动刷新。",
        "Refresh every {seconds} s": "每 {seconds} 秒刷新",
        # Facts about the exporter
        "API": "API",
        "up": "正常",
        "down": "异常",
        "no request yet": "尚未请求",
        "API error": "API 错误",
        "error": "错误",
        "credentials refused": "凭证被拒绝",
        "API not published": "API 未发布",
        "service error": "服务出错",
        "unreachable": "无法连接",
        "invalid response": "响应无效",
        "everything refused": "所有请求均被拒绝",
        "Jobs": "构建任务",
        "{count} in recycle bin": "回收站中 {count} 个",
        "Configuration": "配置",
        "ok": "正常",
        "reload failed": "重新加载失败",
        "loaded {ago}": "{ago}加载",
        "Request budget": "请求预算",
        "per minute": "每分钟",
        "Poll lag": "轮询滞后",
        "most overdue": "最久的一个",
        "Snapshot": "指标快照",
        "{size} gzip": "gzip 后 {size}",
        # Filters and pages
        "Skip to the jobs": "跳到构建任务",
        "{problems} of {jobs} with problems": "{jobs}中 {problems} 个有问题",
        "Problem": "问题",
        "all": "全部",
        "all jobs": "全部构建任务",
        "Project": "项目",
        "all projects": "全部项目",
        "Search": "搜索",
        "name, project or ID": "名称、项目或 ID",
        "Filter": "筛选",
        "Clear": "清除",
        "{range} of {jobs}": "第 {range} 个，共 {jobs}",
        "Pages": "分页",
        "First": "首页",
        "Previous": "上一页",
        "Next": "下一页",
        "Last": "末页",
        "Page {page} of {pages}": "第 {page} 页，共 {pages} 页",
        "No job matches": "没有匹配的构建任务",
        "None of {jobs} matches the filters.": "所监控的 {jobs}均不符合筛选条件。",
        "Show all jobs": "显示全部构建任务",
        "No jobs yet": "还没有构建任务",
        "Jobs appear once the configuration names some, or the first job list of a project was read.": (
            "在配置中列出构建任务，或首次读取项目的任务列表之后，构建任务会显示在这里。"
        ),
        # The table of jobs
        "Watched jobs with the results of their last builds, problems first": (
            "所监控的构建任务及其最近构建的结果，有问题的排在最前"
        ),
        "Watched jobs with the results of their last builds, sorted by {column}": (
            "所监控的构建任务及其最近构建的结果，按“{column}”排序"
        ),
        "Sort by": "排序",
        "Job": "构建任务",
        "Last result": "最近结果",
        "Last {count} builds": "最近 {count} 次构建",
        "Duration": "构建时长",
        "Finished": "结束",
        "Queue": "排队",
        "Failures": "连续失败",
        "Polled": "轮询",
        "never": "从未",
        "not polled yet": "尚未轮询",
        "no build yet": "尚无构建",
        # Results, states and problems
        "success": "成功",
        "failure": "失败",
        "aborted": "中止",
        "timeout": "超时",
        "schedule failure": "调度失败",
        "unknown": "未知",
        "running": "构建中",
        "queued": "排队中",
        "#{number} {state} for {age}": "#{number} {state} {age}",
        "{count} {state} for up to {age}": "{count} 个{state}，最长 {age}",
        "builds that have not ended": "尚未结束的构建",
        "failing": "持续失败",
        "stuck": "卡住",
        "stuck for {age}": "卡住 {age}",
        "deleted": "已删除",
        "not visible": "不可见",
        "stale": "数据陈旧",
        "disabled": "已禁用",
        "no success since the last failure": "上次失败之后没有成功过",
        "a build has been queued or running for far longer than usual": "有构建排队或运行的时间远超平常",
        "the job is in the recycle bin": "该构建任务在回收站中",
        "the last poll of the job failed: refused, not found, or the API is down": (
            "最近一次轮询失败：被拒绝、不存在，或 API 异常"
        ),
        "not polled recently": "最近没有轮询",
        "the job cannot be built": "该构建任务不能执行",
        # Bar charts
        "Not polled yet": "尚未轮询",
        "No finished build": "没有已结束的构建",
        "Last build: {build}": "最近一次构建：{build}",
        "Last {count} builds: {summary}; newest {build}": "最近 {count} 次构建：{summary}；最新一次 {build}",
        "Shapes of the bars": "柱形的含义",
        "Bar height: duration relative to the longest in the row; newest at the right": (
            "柱高：相对于该行最长构建的时长；最新的在最右"
        ),
        # The page of a job
        "Skip to the builds": "跳到构建列表",
        "All jobs": "全部构建任务",
        "Streak": "连续结果",
        "{count} × {result}": "{result} {count} 次",
        "at least {count} × {result}": "{result}至少 {count} 次",
        "Last success": "最近一次成功",
        "none since the job is watched": "开始监控以来没有",
        "Usual duration": "通常时长",
        "median of the last builds": "最近构建的中位数",
        "Last successful poll": "上次成功的轮询",
        "the latest one failed": "最近一次失败",
        "Reason": "原因",
        "Next poll": "下次轮询",
        "in {age}": "{age}后",
        "now": "现在",
        "under way": "进行中",
        "not planned": "未安排",
        "Watched since": "监控开始于",
        "The last builds of the job, newest first": "该构建任务最近的构建，最新的在最前",
        "Build": "构建编号",
        "Result": "结果",
        "{age} so far": "已 {age}",
        "No such job": "没有这个构建任务",
        "This exporter watches no job with that ID.": "本 exporter 没有监控该 ID 的构建任务。",
        # Reasons for the time of the next poll
        "not polled since the start": "启动以来尚未轮询",
        "a hint said that it has news": "收到提示：该任务有新情况",
        "a job list shows a change": "任务列表显示有变化",
        "job lists do not cover it any more": "任务列表不再包含该任务",
        "a build is unfinished": "有构建尚未结束",
        "a build is running; job lists will show its end sooner": "有构建正在运行；其结束会先由任务列表显示",
        "a job list shows a build that its history does not show yet": (
            "任务列表显示了构建历史中尚未出现的构建"
        ),
        "nothing new in the job lists, which are verified now and then": (
            "任务列表中没有新情况；每隔一段时间核实一次"
        ),
        "nothing new; the interval grows with each such poll": "没有新情况；轮询间隔随之延长",
        "build numbers are missing; the interval grows with each poll that does not find them": (
            "缺少部分构建编号；每次未找到，轮询间隔随之延长"
        ),
        "a build has been unfinished for over a day": "有构建超过一天仍未结束",
        "details of builds are still to be read": "还有构建详情待读取",
        "the API refuses the job; the interval grows with each refusal": (
            "API 拒绝访问该任务；每次被拒绝，轮询间隔随之延长"
        ),
        "the last poll failed; the interval grows with each failure": (
            "上次轮询失败；每次失败，轮询间隔随之延长"
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a language: calling it translates an English text and fills in its values.

    Attributes:
        tag: names the language in HTML.
        table: translates from English; empty for English itself.
    """

    tag: str
    table: Mapping[str, str]

    def __call__(self, english: str, **values: object) -> str:
        """Translate a text; one that the table lacks stays English."""
        words = self.table.get(english, english)
        return words.format(**values) if values else words

    def length(self, value_ms: int | None) -> str:
        """Format a duration in its two largest units; a line may break between them."""
        return self._of_units(text.length(value_ms))

    def age(self, value_ms: int | None) -> str:
        """Format an age in its largest unit."""
        return self._of_units(text.age(value_ms))

    def ago(self, value_ms: int) -> str:
        """Format how long ago something was."""
        return self("{age} ago", age=self.age(value_ms))

    def jobs(self, number: int) -> str:
        """Format a number of jobs."""
        return f"{number:,} {self('job')}" if self.table else text.plural(number, "job")

    def joined(self, parts: Iterable[str]) -> str:
        """Join the parts of a list with commas."""
        return self(", ").join(parts)

    def api_trouble(self, brief: str) -> str:
        """Translate the kind of an error that may have a code in parentheses."""
        kind, bracket, code = brief.partition(" (")
        return f"{self(kind)}{bracket}{code}"

    def _of_units(self, formatted: str) -> str:
        parts = [self(part) for part in formatted.split(_SPACE)]
        pairs = [_SPACE.join(parts[start : start + 2]) for start in range(0, len(parts), 2)]
        return " ".join(pairs)


ENGLISH: Final = Words("en", {})
SIMPLIFIED_CHINESE: Final = Words("zh-CN", CHINESE)


def words_for(accept_language: str) -> Words:
    """Choose the language that an ``Accept-Language`` header ranks highest; English if that is neither."""
    known = [
        (quality, language)
        for tag, _, quality in choices(accept_language)
        if quality and (language := tag.partition("-")[0]) in ("en", "zh")
    ]
    _, best = max(known, key=lambda choice: choice[0], default=(0.0, "en"))
    return SIMPLIFIED_CHINESE if best == "zh" else ENGLISH
