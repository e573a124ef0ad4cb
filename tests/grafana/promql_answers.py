"""Evaluates queries of the dashboards for made-up series."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.support.programs import program

INTERVAL = "15s"
"""Time between samples. The queries look back 5m, or 30s if their range depends on the resolution."""

A, B = 'job="c", instance="a:1"', 'job="c", instance="b:1"'
API, WEB = 'project="shop", job_name="api"', 'project="shop", job_name="web"'

Series = Mapping[str, str]
Answer = Mapping[str, float]


def check(folder: Path, expression: str, series: Series, answer: Answer, eval_time: str = "10m") -> None:
    """Evaluate a query with promtool.

    Args:
        folder: for promtool's input file.
        expression: the query.
        series: values by name, in promtool's notation.
        answer: expected values by labels.
        eval_time: time of the evaluation after the first sample.
    """
    samples = [{"labels": labels, "value": value} for labels, value in answer.items()]
    case = {
        "interval": INTERVAL,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": eval_time, "exp_samples": samples}],
    }
    file = folder / "answers.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": INTERVAL, "tests": [case]}))
    result = subprocess.run(
        [program("promtool"), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, f"{expression}\n{result.stdout}{result.stderr}"
