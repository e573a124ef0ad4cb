"""Every declared metric, and the parsing of expositions."""

from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics import FLEET_FAMILIES, JOB_FAMILIES, Declared
from exporter.metrics.exporter_metrics import EXPORTER_METRICS
from exporter.metrics.job_metrics import STAGE_FAMILIES
from exporter.metrics.lean_detail import LEAN_FAMILIES
from tests.support.truth import Values

DECLARED: Final[tuple[Declared, ...]] = (
    *JOB_FAMILIES,
    *LEAN_FAMILIES,
    *STAGE_FAMILIES,
    *FLEET_FAMILIES,
    *EXPORTER_METRICS,
)


def samples(exposition: str) -> Values:
    """Return the samples of a text exposition by name and sorted labels; duplicates are an error."""
    values: Values = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in values, f"duplicate: {key}"
            values[key] = sample.value
    return values


def build_counters(exposition: str) -> Values:
    """Return the counters of builds, which survive restarts; faster than `samples`."""
    values: Values = {}
    for line in exposition.splitlines():
        if line.startswith("codearts_build_") and not line.startswith("codearts_build_exporter_"):
            name, _, rest = line.partition("{")
            if name.endswith(("_total", "_bucket", "_sum", "_count")):
                labels, _, value = rest.rpartition("} ")
                values[name, ((labels, ""),)] = float(value)
    return values


def value_of(series: str, exposition: str) -> float:
    """Return the value of a series, which is given as the exposition has it; faster than `samples`."""
    [value] = (line[len(series) :] for line in exposition.splitlines() if line.startswith(f"{series} "))
    return float(value)
