"""Reading metrics as Prometheus does."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TIMEOUT = 60.0


class MetricValues:
    """What one scrape gave."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 without any."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def values(self, label: str) -> set[str]:
        """Every value that a label has."""
        return {sample.labels[label] for sample in self._samples if label in sample.labels}


def scraped(url: str) -> MetricValues:
    """The metrics at an address, in the form that Prometheus asks for first."""
    answer = httpx.get(url, headers={"Accept": OPENMETRICS}, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    return MetricValues(answer.text)


def scraped_until(url: str, condition: Callable[[MetricValues], bool]) -> MetricValues:
    """The metrics as soon as the condition holds; the last ones where they never are."""
    end = time.monotonic() + TIMEOUT
    while not condition(values := scraped(url)) and time.monotonic() < end:
        time.sleep(0.1)
    return values
