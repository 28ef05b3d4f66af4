#!/usr/bin/env python3
"""What example tasks do to the ranking: by their number, by their kind, and to tools that have none.

usage: bench_examples.py ORCHESTRATOR FOLDER [--model NAME] [--vectors FILE] [--figure FILE.svg]

ORCHESTRATOR is a release build. FOLDER holds tools.jsonl and queries.jsonl of a labelled set over the
servers of the shipped pack (../shared/eval/fleet). All figures are those of `orchestrator eval`, given
parts of the pack as its examples; they are printed as Markdown. The vectors of all texts are computed
once, and kept in --vectors if it is given: some minutes.

The figure needs matplotlib (made with 3.11); the rest the standard library only.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

# The tasks of a line of the pack, in their order.
KINDS = ["order", "indirect", "terse", "chatty", "hasty"]
# Which part of the queries is worded in the manner of a kind.
SPLIT_OF = {"order": "direct", "indirect": "indirect", "terse": "terse", "chatty": "chatty", "hasty": "typo"}
# Tasks of the pack that serve as queries where their kind is left out.
SAMPLE = 500
HALVES = 6


class Bench:
    """Runs `eval` with parts of the pack."""

    def __init__(self, program, folder, scratch, model, vectors):
        self.program, self.folder, self.scratch = program, folder, scratch
        self.model, self.vectors = model, vectors or scratch / "vectors.db"
        self.queries = read(folder / "queries.jsonl")
        exported = subprocess.run(
            [program, "examples", "export", "--shipped"], check=True, capture_output=True, text=True
        )
        self.pack = [json.loads(line) for line in exported.stdout.splitlines()]

    def measure(self, kinds, queries=None, taught=lambda tool: True):
        """The metrics with the examples of these kinds for the tools that are `taught`."""
        lines = [
            {"tool": line["tool"], "tasks": [line["tasks"][KINDS.index(kind)] for kind in kinds]}
            for line in self.pack
            if kinds and taught(line["tool"])
        ]
        examples, asked = self.scratch / "examples.jsonl", self.scratch / "queries.jsonl"
        write(examples, lines)
        write(asked, self.queries if queries is None else queries)
        command = [self.program, "eval", "--json", "--tools", self.folder / "tools.jsonl", "--queries", asked]
        command += ["--examples", examples, "--vectors", self.vectors, *(["--model", self.model] if self.model else [])]
        print(f"{len(lines)} tools with examples: {' '.join(kinds) or 'none'}", file=sys.stderr)
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def write(file, lines):
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def table(header, rows):
    cells = [[value if isinstance(value, str) else f"{value:.3f}".lstrip("0") for value in row] for row in rows]
    for row in [header, ["---"] * len(header), *cells]:
        print("| " + " | ".join(row) + " |")
    print()


def by_number(bench):
    """For 0 to 5 examples a tool: the metrics of all choices of neighbouring kinds, each kind as often."""
    runs = {0: [bench.measure([])], 5: [bench.measure(KINDS)]}
    for number in range(1, 5):
        choices = [[KINDS[(first + step) % 5] for step in range(number)] for first in range(5)]
        runs[number] = [bench.measure(choice) for choice in choices]
    print("### By their number\n")
    header = ["examples a tool", "H@1", "H@5", "R@5", "nDCG@5", "server H@1", "search, ms"]
    figures = ["h1", "h5", "r5", "ndcg5", "server_h1"]
    table(
        header,
        [
            [str(number), *(mean(run[figure] for run in runs[number]) for figure in figures),
             f"{mean(run['searchMs'] for run in runs[number]):.2f}"]
            for number in sorted(runs)
        ],
    )
    return runs


def by_kind(runs):
    """One kind alone, and all but one, on all queries and on those worded in its manner."""
    print("### By their kind\n")
    rows = []
    for at, kind in enumerate(KINDS):
        split = SPLIT_OF[kind]
        alone, none, every = runs[1][at], runs[0][0], runs[5][0]
        # The four from the next kind on.
        without = runs[4][(at + 1) % 5]
        rows.append(
            [kind, alone["h1"], alone["h5"], without["h1"], without["h5"], split]
            + [run["splits"][split]["h1"] for run in [none, alone, without, every]]
        )
    header = ["kind", "alone H@1", "H@5", "all but it H@1", "H@5", "queries of its manner"]
    table([*header, "H@1 with none", "it alone", "all but it", "all"], rows)


def by_unseen_manner(bench):
    """The tasks of each kind as queries, over an index that has the other four kinds."""
    print(f"### A manner of speaking that the index has not seen ({SAMPLE} tasks of each kind as queries)\n")
    tools = {f"{tool['server']}:{tool['name']}" for tool in read(bench.folder / "tools.jsonl")}
    known = [line for line in bench.pack if line["tool"] in tools]
    rows = []
    for at, kind in enumerate(KINDS):
        sample = random.Random(at).sample(known, min(SAMPLE, len(known)))
        queries = [{"query": line["tasks"][at], "relevant": [[line["tool"]]]} for line in sample]
        none = bench.measure([], queries)
        others = bench.measure([other for other in KINDS if other != kind], queries)
        rows.append([kind, none["h1"], others["h1"], none["h5"], others["h5"]])
    table(["tasks", "H@1 with none", "the other four", "H@5 with none", "the other four"], rows)


def by_halves(bench):
    """One half of the servers has examples: what that does to queries about the other."""
    print(f"### Taught and untaught tools side by side ({HALVES} random halves of the servers)\n")
    servers = sorted({line["tool"].split(":")[0] for line in bench.pack})
    counted = {"taught": [], "untaught": []}
    for seed in range(HALVES):
        half = set(random.Random(seed).sample(servers, len(servers) // 2))
        queries = [query | {"split": side} for query in bench.queries if (side := side_of(query, half))]
        none = bench.measure([], queries)["splits"]
        with_half = bench.measure(KINDS, queries, lambda tool: tool.split(":")[0] in half)["splits"]
        for side, figures in counted.items():
            figures.append((none[side], with_half[side]))
    rows = []
    for side, figures in counted.items():
        count = sum(none["queries"] for none, _ in figures)

        def share(which, metric):
            return sum(pair[which]["queries"] * pair[which][metric] for pair in figures) / count

        rows.append([side, str(count), *(share(which, metric) for metric in ["h1", "h5"] for which in [0, 1])])
    table(["half", "queries", "H@1 with none", "half taught", "H@5 with none", "half taught"], rows)


def side_of(query, half):
    """The half in which all tools lie that would do, if there is one."""
    sides = {tool.split(":")[0] in half for slot in query["relevant"] for tool in slot}
    return {True: "taught", False: "untaught"}[sides.pop()] if len(sides) == 1 else None


def draw(runs, file):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "examples", "font.size": 10, "svg.fonttype": "none"})
    from matplotlib import pyplot

    numbers = sorted(runs)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    for metric, label in [("h5", "H@5"), ("server_h1", "server H@1"), ("h1", "H@1")]:
        left.plot(numbers, [mean(run[metric] for run in runs[n]) for n in numbers], marker="o", label=label)
    left.set_title("All tasks")
    for split in runs[0][0]["splits"]:
        values = [mean(run["splits"][split]["h1"] for run in runs[n]) for n in numbers]
        right.plot(numbers, values, marker="o", label=f"{split} ({runs[0][0]['splits'][split]['queries']})")
    right.set_title("H@1 by manner of the task")
    for axes in [left, right]:
        axes.set_xlabel("examples a tool")
        axes.set_ylim(0, 1)
        axes.set_xticks(numbers)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", metavar="ORCHESTRATOR", type=Path)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--model", metavar="NAME")
    parser.add_argument("--vectors", metavar="FILE", type=Path)
    parser.add_argument("--figure", metavar="FILE.svg", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(
            arguments.program.resolve(), arguments.folder, Path(scratch), arguments.model, arguments.vectors
        )
        runs = by_number(bench)
        by_kind(runs)
        by_unseen_manner(bench)
        by_halves(bench)
    if arguments.figure:
        draw(runs, arguments.figure)


if __name__ == "__main__":
    main()
