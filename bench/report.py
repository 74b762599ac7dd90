"""The result as text, as a picture and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from bench.rows import Figure, Result, Row

_BAR = 260
_LINE = 30


def _microseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:,.0f}"


def _score(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "bytes/s":
        return f"{value / 1e6:,.0f} MB/s"
    if unit == "%":
        return f"{value:.0%}"
    if unit == "s":
        return f"{value * 1e6:,.0f} µs"
    return f"{value:,.0f}/s"


def _goal(row: Row) -> str:
    return f"{'≤' if row.at_most else '≥'} {row.goal:.2f}"


def table(result: Result, before: Mapping[str, float] | None = None) -> list[list[str]]:
    """Return the cells of the table, the head first.

    :param before: what the last run on record had; without it there is no column.
    """
    head = [
        "work",
        "against",
        "ratio",
        "goal",
        "",
        "ours",
        "p50 µs",
        "p99 µs",
        "CPU µs",
    ]
    cells = [
        head,
        *(
            [
                row.work,
                row.against,
                f"{row.ratio:.2f}",
                _goal(row),
                "reached" if row.reached else "missed",
                _score(row.median("score"), row.unit),
                _microseconds(row.median("p50")),
                _microseconds(row.median("p99")),
                _microseconds(row.median("cpu")),
            ]
            for row in result.rows
        ),
        *(_figure(figure) for figure in result.figures),
    ]
    if before is not None:
        head.insert(3, "before")
        for line in cells[1:]:
            last = before.get(line[0])
            line.insert(3, "" if last is None else f"{last:,.2f}")
    return cells


def _figure(figure: Figure) -> list[str]:
    return [
        figure.work,
        "",
        f"{figure.value:,.0f} {figure.unit}",
        f"≤ {figure.limit:,.0f}",
        "reached" if figure.reached else "missed",
        *[""] * 4,
    ]


def text(result: Result, before: Mapping[str, float]) -> str:
    """Return the table for a terminal, beside what the last run on record had."""
    cells = table(result, before)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def markdown(result: Result) -> str:
    """Return the table for a page."""
    head, *rows = table(result)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def picture(result: Result) -> str:
    """Return an SVG: each ratio as a bar, each goal as a mark on it."""
    left, height = 330, 40 + _LINE * len(result.rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + _BAR + 90}"'
        f' height="{height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="20">ratio to what it is compared with; the line is'
        " the goal</text>",
    ]
    for number, row in enumerate(result.rows):
        y = 34 + number * _LINE
        scale = _BAR / max(row.ratio, row.goal) / 1.1
        bar, mark = row.ratio * scale, left + row.goal * scale
        colour = "#2a7f4f" if row.reached else "#c0562b"
        parts += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">'
            f"{escape(row.work)}</text>",
            f'<rect x="{left}" y="{y}" width="{bar:.1f}" height="18" fill="{colour}"/>',
            f'<line x1="{mark:.1f}" x2="{mark:.1f}" y1="{y - 3}" y2="{y + 21}"'
            ' stroke="black" stroke-width="2"/>',
            f'<text x="{left + _BAR + 6}" y="{y + 14}">{row.ratio:.2f}'
            f" ({escape(_goal(row))})</text>",
        ]
    return "\n".join([*parts, "</svg>\n"])


_PAGE = """# Performance

One process, PostgreSQL that waits for the disk, Valkey, an accounting server, and
local storage with every file and directory synced, against nginx on the same files
and a Klein route that does nothing, by turns in one run. Each figure is the median
of {rounds} rounds. Only the ratios mean anything on another machine.

```sh
python -m bench
```

prints this table and rewrites this page. It needs `wrk`, `curl` and `nginx` with its
WebDAV module (`apt-get install wrk curl nginx-light`).

![The ratios](performance.svg)

{table}{failed}
*CPU* is the server's own processor time for each request (for each transfer, where it
is one of 1 GiB); *p50* and *p99* are times until the answer was whole.

*The disk* is a loop of ten threads that write files of 1 KiB, sync them, rename them
and sync their folders, beside one commit of PostgreSQL for each 32. nginx's WebDAV
waits for no disk: it answers when the kernel has the bytes. On S3, *bare boto3* is a
script with as many threads as the server has. *Unbalanced* and *unbuffered* are the
same server without a part of it: what that part brings.

With two processes on two cores, of which the load generator and PostgreSQL need one, it
is the processor time of a request that tells what more cores would bring.

The same beside a busy loop that has one of the two cores (3 rounds): GET 1 KiB 0.59,
304 0.88, POST 0.31 of the disk, GET 4 MiB 0.63, upload 0.77, download 0.79, p99 beside
transfers 2.32. Between two whole runs on one machine ratios differed by up to a third.

## Tried and left out

- *uvloop* below `--asyncio`: processor time of a GET of 1 KiB -2 %, of a POST +9 %
  against epoll; the asyncio reactor without it +1 % and +20 %.
- Sending each answer at once instead of at the end of the reactor's turn: processor
  time +12 %, since less is asked of the ledger together.
- Several batches of uploads in the ledger at a time: fewer uploads a second, since
  they wait for one another's locks. Several batches of small files made durable at a
  time: fewer uploads a second as well, with 40 % more processor time for each.
- Higher thresholds of the garbage collector: no difference.
- One `syncfs` for a batch of uploads: a tenth of the time of their flushes, but it
  waits for all else that the disk has to write.
- `sys.setswitchinterval` of 0.2 and 1 ms: uploads a second +7 % and +3 %, downloads
  -3 %.
- `sendfile` in slices of 4 MiB instead of 2: processor time of a GET of 4 MiB -5 %,
  the same rate, and others wait twice as long for their turn.

Not the server's: for some minutes after thousands of files were deleted, ext4 looks
for a free inode among those, and a small upload takes up to twice its processor time.
"""


def write(result: Result, rounds: int, folder: Path) -> None:
    """Write the page and its picture."""
    (folder / "performance.svg").write_text(picture(result))
    failed = f"\nFailed in this run: {', '.join(result.failed)}.\n"
    page = _PAGE.format(
        rounds=rounds,
        table=markdown(result),
        failed=failed if result.failed else "",
    )
    (folder / "performance.md").write_text(page)
