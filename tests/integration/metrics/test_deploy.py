"""The alerts and the dashboard are about metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser
import pytest
import yaml

from qabel_block.metrics.definitions import LEDGER_OPERATIONS
from tests.support.checkout import CHECKOUT
from tests.support.metrics import scrape
from tests.support.promql import read_query
from tests.support.server import ServerProcess
from tests.support.world import World

RULES = CHECKOUT / "deploy/prometheus/alerts.yml"
DASHBOARD = CHECKOUT / "deploy/grafana/qabel-block.json"
MEANINGS = CHECKOUT / "docs/alerts.md"

TARGET = frozenset({"job", "instance"})
"""Labels that Prometheus adds to what it scrapes."""

ANSWERS = frozenset({"status", "reason"})
"""Labels whose values are there once there was such an answer."""

_LABEL_VALUES = re.compile(r"label_values\((\w+), (\w+)\)")


def _alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def _panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def _expressions() -> Iterator[tuple[str, str]]:
    """Return all expressions, each with the name of what it is for."""
    for alert in _alerts():
        yield alert["alert"], alert["expr"]
    for panel in _panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


QUERIES = {
    f"{name}: {expression}": read_query(expression)
    for name, expression in _expressions()
}


@pytest.fixture
def per_user(world: World, options: tuple[str, ...]) -> Iterator[ServerProcess]:
    """A server that tells of single users, once it does."""
    assert world.user().upload("a", b"1").status_code == 204
    with ServerProcess(*options, "--metrics-per-user") as server:
        server.wait_for(lambda: "qabel_block_user_quota_bytes" in scrape(server).names)
        yield server


@pytest.fixture
def exported(
    world: World, server: ServerProcess, per_user: ServerProcess
) -> Mapping[str, dict[str, set[str]]]:
    """For each series that servers really show, alone, with workers or with users:
    the values of its labels."""
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    world.user().download("none")
    for one in (world.process, server, per_user):
        for name, labels in scrape(one).values:
            values = found.setdefault(name, {})
            for label, value in labels:
                values.setdefault(label, set()).add(value)
    return found


def test_metrics_are_there(exported: Mapping[str, dict[str, set[str]]]) -> None:
    """Whatever an expression asks for is exported, with the labels it names."""
    for text, query in QUERIES.items():
        known: set[str] = set(TARGET)
        for selector in query.selectors:
            labels = exported.get(selector.name)
            assert labels is not None, f"there is no {selector.name}: {text}"
            known.update(labels)
            for label in selector.others.union(selector.equal) - TARGET:
                assert label in labels, f"no label {label}: {text}"
            for label, value in selector.equal.items():
                if label not in TARGET | ANSWERS:
                    assert value in labels[label], f"never {label}={value}: {text}"
        assert query.kept <= known, text


def test_ledger_operations_are_measured() -> None:
    """Expressions select operations of the ledger that are measured by that name."""
    for name, expression in _expressions():
        for names in re.findall(r'operation=~"([^"]*)"', expression):
            assert set(names.split("|")) <= set(LEDGER_OPERATIONS), name


def test_the_check_can_fail() -> None:
    """What an expression speaks of is found wherever it is in it."""
    query = read_query('a > on (x) sum by (y) (rate(b{c="d",e!="f"}[5m])) / 2')
    assert {selector.name for selector in query.selectors} == {"a", "b"}
    assert query.selectors[1].equal == {"c": "d"}
    assert query.selectors[1].others == {"e"}
    assert query.kept == {"y"}
    with pytest.raises(ValueError, match="a"):
        read_query("sum by (a")


def test_counters_are_asked_for_their_rate() -> None:
    """A counter is never shown as it is: it begins anew with each process."""
    for name, expression in _expressions():
        counted = re.findall(r"\w+_total\b", expression)
        rates = re.findall(r"(?:rate|increase)\(\w+_total\b", expression)
        assert len(counted) == len(rates), name


def test_alerts_are_explained() -> None:
    """Each alert says how urgent it is and what is wrong, and has a section that
    says what to do."""
    names = [alert["alert"] for alert in _alerts()]
    assert len(set(names)) == len(names)
    sections = re.findall(r"^## (.+)$", MEANINGS.read_text(), re.MULTILINE)
    assert sections == names
    for alert in _alerts():
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"]["summary"]
        for duration in {alert.get("for", "1m")}:
            assert promql_parser.parse_duration(duration)


def test_dashboard() -> None:
    """Grafana can import it: panels have places of their own, and the data source
    is asked for."""
    dashboard = json.loads(DASHBOARD.read_text())
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    match = _LABEL_VALUES.fullmatch(variables["instance"]["query"]["query"])
    assert match is not None
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_all_legacy_names_are_shown() -> None:
    """Whatever the legacy server's dashboards show, this one does."""
    shown = {selector.name for query in _dashboard_queries() for selector in query}
    for name in (
        "block_in_progress_requests",
        "websocket_connections",
        "pubsub_connections",
        "block_wait_for_auth_bucket",
        "block_wait_for_transfer_store_bucket",
        "block_wait_for_transfer_retrieve_bucket",
        "block_wait_for_transfer_meta_bucket",
        "block_wait_for_transfer_delete_bucket",
        "block_response_time_bucket",
        "websocket_connection_duration_bucket",
        "block_s3_requests_count",
        "block_traffic_by_request_sum",
        "block_quota_by_request_sum",
        "block_access_denied_total",
        "content_length_error_total",
        "block_auth_cache_hits_total",
        "block_auth_cache_sets_total",
        "block_traffic_response_total",
        "block_traffic_request_total",
        "block_wait_database_connections_total",
        "websocket_messages_total",
        "pubsub_published_total",
    ):
        assert name in shown


def test_what_alerts_are_about_is_shown() -> None:
    """For each alert the dashboard has a panel with the same metrics; degraded and lost
    things have one of their own."""
    shown = {selector.name for query in _dashboard_queries() for selector in query}
    asked = {
        selector.name
        for text, query in QUERIES.items()
        if text.partition(":")[0] in {alert["alert"] for alert in _alerts()}
        for selector in query.selectors
    }
    assert asked - shown == {"up", "process_max_fds", "process_start_time_seconds"}
    assert {"Degraded", "Lost blobs"} < {panel["title"] for panel in _panels()}


def _dashboard_queries() -> Iterator[tuple[Any, ...]]:
    titles = {panel["title"] for panel in _panels()}
    for text, query in QUERIES.items():
        if text.partition(":")[0] in titles:
            yield query.selectors
