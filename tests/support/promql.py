"""What an expression of Prometheus' query language speaks of."""

from __future__ import annotations

import promql_parser
from attrs import frozen


@frozen
class Selector:
    """Which series are meant.

    :ivar equal: labels that must have just this value.
    :ivar others: labels of which something else is asked.
    """

    name: str
    equal: dict[str, str]
    others: frozenset[str]


@frozen
class Query:
    """An expression.

    :ivar kept: labels by which it is summed up or the like.
    """

    selectors: tuple[Selector, ...]
    kept: frozenset[str]


def read_query(expression: str) -> Query:
    """Parse an expression, which may contain variables of Grafana.

    :raises ValueError: if it is none.
    """
    selectors: list[Selector] = []
    kept: set[str] = set()
    parts: list[object] = []
    plain = expression.replace("$__rate_interval", "5m").replace("$__range", "6h")
    parsed = promql_parser.parse(plain)
    promql_parser.walk(parsed, parts.append)
    for part in parts:
        if isinstance(part, promql_parser.VectorSelector):
            matchers = part.matchers.matchers
            equal = {
                one.name: one.value
                for one in matchers
                if one.op == promql_parser.MatchOp.Equal
            }
            others = frozenset(one.name for one in matchers).difference(equal)
            selectors.append(Selector(part.name or "", equal, others))
        elif isinstance(part, promql_parser.AggregateExpr) and part.modifier:
            kept.update(part.modifier.labels)
    return Query(tuple(selectors), frozenset(kept))
