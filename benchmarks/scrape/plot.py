"""A plot of the duration of a scrape by fleet size."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from benchmarks.scrape.scraper import Times

_COLOURS: Final = {"exporter": "#1f6feb", "nginx, static file": "#2da44e", "prometheus-client": "#cf222e"}


@dataclass(frozen=True)
class Point:
    """The measurement of one server and fleet size: gzip, keep-alive, one scraper."""

    server: str
    jobs: int
    builds_a_second: float
    times: Times


def plot(points: Iterable[Point], path: str) -> None:
    """Draw p50 as lines and p99 as dots above them."""
    from matplotlib.figure import Figure  # needed for the plot only

    lines: dict[tuple[str, float], list[Point]] = defaultdict(list)
    for point in points:
        lines[point.server, point.builds_a_second].append(point)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for (server, builds_a_second), line in lines.items():
        if builds_a_second and server != "exporter":
            continue
        jobs = [point.jobs for point in line]
        label = f"{server}, {builds_a_second:g} builds a second" if builds_a_second else server
        style = "--" if builds_a_second else "-"
        colour = _COLOURS[server]
        axes.plot(jobs, [point.times.p50 * 1000 for point in line], style, color=colour, label=label)
        axes.plot(jobs, [point.times.p99 * 1000 for point in line], ".", color=colour)
    axes.axhline(10_000, color="#57606a", linewidth=0.8)
    axes.text(1, 11_500, "default scrape timeout", color="#57606a", fontsize=9)
    axes.set(xscale="log", yscale="log", xlabel="jobs", ylabel="ms for a scrape: p50 (line), p99 (dots)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
