"""Looks at a server's metrics as Prometheus does."""

from __future__ import annotations

import re

import httpx
from attrs import frozen
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import ServerProcess

_PORT = re.compile(r"metrics on 127\.0\.0\.1 port (\d+)")


def metrics_url(server: ServerProcess) -> str:
    """Return where a server that was started with ``--prometheus-port 0`` shows
    its metrics."""
    match = _PORT.search(server.log())
    assert match is not None, server.log()
    return f"http://127.0.0.1:{match[1]}/metrics"


@frozen
class Scrape:
    """What was there at one moment.

    :ivar kinds: the type of each family.
    :ivar values: of each series, by its name and labels.
    """

    text: str
    kinds: dict[str, str]
    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of all series of this name with at least these labels."""
        return sum(
            value
            for (series, having), value in self.values.items()
            if series == name and having >= labels.items()
        )

    @property
    def names(self) -> set[str]:
        """The names of all series."""
        return {name for name, _ in self.values}


def scrape(server: ServerProcess) -> Scrape:
    """Look now."""
    answer = httpx.get(metrics_url(server), timeout=60)
    assert answer.status_code == 200
    kinds, values = {}, {}
    for family in text_string_to_metric_families(answer.text):
        kinds[family.name] = family.type
        for sample in family.samples:
            values[sample.name, frozenset(sample.labels.items())] = sample.value
    return Scrape(answer.text, kinds, values)
