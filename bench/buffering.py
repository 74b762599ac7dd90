"""What the buffering of metrics brings: what a request counts, with it and without."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from bench.contest import Contest
from bench.rows import Row, Sample
from tests.support.checkout import CHECKOUT

REQUESTS = 20_000
_COUNTERS, _HISTOGRAMS = 6, 4
"""About what a small download counts."""

_SCRIPT = f"""
import json, sys, time
from prometheus_client import CollectorRegistry, Counter, Histogram
from qabel_block.metrics.buffered import BufferedCounter, BufferedHistogram

registry = CollectorRegistry()
bounds = (0.001, 0.01, 0.1, 1.0, 10.0)
counters = [Counter(f"c{{n}}", "", registry=registry) for n in range({_COUNTERS})]
histograms = [
    Histogram(f"h{{n}}", "", registry=registry, buckets=bounds)
    for n in range({_HISTOGRAMS})
]
buffered_counters = [BufferedCounter(one) for one in counters]
buffered_histograms = [BufferedHistogram(one, bounds) for one in histograms]


def count(counters, histograms):
    began = time.process_time()
    for _ in range({REQUESTS}):
        for one in counters:
            one.inc()
        for one in histograms:
            one.observe(0.005)
    return time.process_time() - began


ours = count(buffered_counters, buffered_histograms)
print(json.dumps([ours, count(counters, histograms)]))
"""


def buffering_rows(contest: Contest) -> list[Row]:
    """Processor time of counting, where several processes share what they count."""
    row = Row("metrics of a request, CPU", "unbuffered", "s", 0.5, at_most=True)
    for _ in range(contest.rounds):
        with tempfile.TemporaryDirectory() as folder:
            output = subprocess.run(
                [sys.executable, "-c", _SCRIPT],
                env={
                    "PROMETHEUS_MULTIPROC_DIR": folder,
                    "PYTHONPATH": f"{CHECKOUT}:{':'.join(sys.path)}",
                },
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        ours, theirs = json.loads(output)
        row.ours.append(Sample(ours / REQUESTS, cpu=ours / REQUESTS))
        row.theirs.append(Sample(theirs / REQUESTS))
    return [row]
