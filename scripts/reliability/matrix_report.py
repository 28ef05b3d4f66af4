#!/usr/bin/env python3
"""Tables and summaries of the fault matrix, and two of its reports side by side.

usage: matrix_report.py A.json B.json

prints two reports that `matrix.py --json` wrote, say of two builds, as markdown.
"""

import json
import pathlib
import statistics
import sys

from cells import CLASSES
from figures import number, print_markdown, share, shortened

PARTS = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
HEADS = [
    "fault",
    "answer",
    "after s",
    "beside",
    "state",
    "recovery s",
    "healthy done/failed",
    "healthy p50 / p99 / max ms",
    "left",
    "MB before / after / peak",
    "text",
    "missed",
]
# Those of HEADS that are compared, besides latencies.
COMPARED = ("answer", "after s", "beside", "recovery s", "healthy done/failed", "left")


def figures(latencies):
    latencies = sorted(latencies)
    return {key: share(latencies, part) if latencies else None for key, part in PARTS}


def report_of(target, seconds, quiet, faulty):
    """The report of all cells: latencies become figures, of each cell and of all."""
    report = {"target": target, "seconds": seconds}
    medians = {}
    for name, cells in (("baseline", quiet), ("faults", faulty)):
        all_latencies = []
        for found in cells:
            latencies = found.pop("latencies")
            found |= {f"{key}_ms": value for key, value in figures(latencies).items()}
            all_latencies += latencies
        report[name] = {"calls": len(all_latencies), **figures(all_latencies)}
        medians[name] = [found["p99_ms"] for found in cells if found["p99_ms"]]
    report["p99_ratio"] = report["p99_ratio_median"] = None
    if all(medians.values()):
        report["p99_ratio"] = report["faults"]["p99"] / report["baseline"]["p99"]
        report["p99_ratio_median"] = statistics.median(medians["faults"]) / statistics.median(
            medians["baseline"]
        )
    return report | {"baseline_cells": quiet, "cells": faulty}


def columns(found):
    """The cell as a row of a table."""
    state = found["state"] + (f", breaker {found['breaker']}" if found["breaker"] else "")
    kinds = {kind: found["answers"].count(kind) for kind in CLASSES if kind in found["answers"]}
    answer = " ".join(kind if len(found["answers"]) == 1 else f"{kind}×{n}" for kind, n in kinds.items())
    return [
        found["cell"],
        answer,
        number(found["answer_s"], 2),
        found["beside"] or "",
        state,
        number(found["recovery_s"], 2),
        f"{found['healthy_done']}/{found['healthy_failed']}",
        " / ".join(number(found[f"{key}_ms"], 1) for key, _ in PARTS),
        str(found["leftovers"]),
        " / ".join(number(found[f"memory_{when}"]) for when in ("before", "after", "peak")),
        shortened(found["text"], 70) if found["answer"] != "ok" else "",
        shortened("; ".join(found["missed"]), 90),
    ]


def print_cell(found, out):
    """As soon as it is there: what takes the latencies of all cells comes later."""
    found = found | {f"{key}_ms": value for key, value in figures(found["latencies"]).items()}
    print("  ".join(columns(found)), file=out, flush=True)


def print_cells(report):
    print_markdown(HEADS, [columns(found) for found in report["cells"]])


def summarize(report):
    cells = report["cells"]
    missed = sum(1 for found in cells if found["missed"])
    print(
        f"{report['target']}: {len(cells)} cells, {len(cells) - missed} as expected, {missed} not; "
        f"healthy calls: {sum(found['healthy_done'] for found in cells)} done, "
        f"{sum(found['healthy_failed'] for found in cells)} failed; "
        f"{sum(found['leftovers'] for found in cells)} processes left; {report['seconds']:.0f} s"
    )
    kinds = {kind: sum(found["answer"] == kind for found in cells) for kind in CLASSES}
    hoped = [found for found in cells if found["may_recover"]]
    print(
        "sick calls: "
        + ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        + f"; recovered: {sum(found['recovery_s'] is not None for found in hoped)} of {len(hoped)} that may; "
        + f"cells with a failed healthy call: {sum(bool(found['healthy_failed']) for found in cells)}, "
        + f"with a process left: {sum(bool(found['leftovers']) for found in cells)}"
    )
    for name in ("baseline", "faults"):
        latencies = report[name]
        print(
            f"healthy latency, {name}: {latencies['calls']} calls, "
            + ", ".join(f"{key} {number(latencies[key], 2)} ms" for key, _ in PARTS)
        )
    if report["p99_ratio"]:
        print(
            f"p99 under faults / baseline: {report['p99_ratio']:.2f} (pooled), "
            f"{report['p99_ratio_median']:.2f} (median of cells)"
        )


# How much slower healthy children may answer while another is sick: p99, median of cells, both measured in
# the same run. The pooled figure hangs on a few moments in which the machine did something else.
SLOWER = 2.0


def tell_missed(report):
    """Names what was not as expected. The exit code."""
    missed = [found for found in report["baseline_cells"] + report["cells"] if found["missed"]]
    for found in missed:
        print(f"{found['cell']}: {'; '.join(found['missed'])}; it said: {shortened(found['text'], 200)}")
    ratio = report["p99_ratio_median"]
    if ratio and ratio > SLOWER:
        print(f"healthy calls: p99 under faults is {ratio:.2f} times that without, and {SLOWER:.0f} is the limit")
        return 1
    return 1 if missed else 0


def compared(found):
    row = dict(zip(HEADS, columns(found)))
    return [row[head] for head in COMPARED] + [
        " / ".join(number(found[f"{key}_ms"], 1) for key in ("p99", "max"))
    ]


def compare(reports):
    """Two reports side by side."""
    first, second = reports
    others = {found["cell"]: compared(found) for found in second["cells"]}
    heads = [*COMPARED, "healthy p99 / max ms"]
    rows = [
        [found["cell"], *compared(found), *others.get(found["cell"], ["-"] * len(heads))]
        for found in first["cells"]
    ]
    print_markdown(["fault", *(f"{report['target']}: {head}" for report in reports for head in heads)], rows)
    for report in reports:
        print()
        summarize(report)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    compare([json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:]])
