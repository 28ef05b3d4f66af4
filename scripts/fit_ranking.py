#!/usr/bin/env python3
"""Chooses the ranking's weights in models/ranking.json by a grid, and shows what they do on a set that had no say.

usage: fit_ranking.py ORCHESTRATOR [SHARED] [--vectors FILE]

SHARED is the folder with eval/ and train/ (../shared). Weights are better when the mean of H@1, R@5 and nDCG@5 over the
sets is. For each set the best of the grid is taken on the others, and its figures on that set are shown beside those of
models/ranking.json; then the best on all. Of Seal-Tools every fifth query is asked. The grid has 36 choices, each is
measured on all sets.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path

from labelled_sets import PROJECT, WEIGHTS, evaluate, sets, shipped_examples, shown

# Those that have a say, with the examples that they would have.
SETS = ("fleet, the pack", "LiveMCPBench, by others", "MCPProxy", "Seal-Tools")
GRID = {
    ("task", "clause"): [0.2, 0.3, 0.4, 0.5],
    ("task", "served"): [0.02, 0.04, 0.06],
    ("tool", "halfOfWords"): [40, 60, 80],
}


def changed(choice):
    weights = json.loads(json.dumps(WEIGHTS))
    for (group, name), value in zip(GRID, choice):
        weights[group][name] = value
    return weights


def thinned(queries, scratch):
    """Every fifth query."""
    file = scratch / "thinned.jsonl"
    file.write_text("\n".join(queries.read_text().splitlines()[::5]))
    return file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("orchestrator", type=Path)
    parser.add_argument("shared", type=Path, nargs="?", default=PROJECT.parent / "shared")
    parser.add_argument("--vectors", type=Path, help="keep the vectors in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        vectors = arguments.vectors or scratch / "vectors.db"
        known = sets(arguments.shared, shipped_examples(arguments.orchestrator, scratch))
        asked = {name: known[name] for name in SETS}
        tools, queries, examples = asked["Seal-Tools"]
        asked["Seal-Tools"] = (tools, thinned(queries, scratch), examples)
        results = {
            choice: {
                name: evaluate(arguments.orchestrator, files, changed(choice), vectors, scratch)
                for name, files in asked.items()
            }
            for choice in itertools.product(*GRID.values())
        }

    def best(names):
        return max(results, key=lambda choice: sum(sum(results[choice][name]) for name in names))

    now = tuple(WEIGHTS[group][name] for group, name in GRID)
    names = ", ".join(name for _, name in GRID)
    print(f"| set | {names}, chosen on the others | H@1 / R@5 / nDCG@5 | with {now} |")
    print("| --- | --- | --- | --- |")
    for name in SETS:
        choice = best([other for other in SETS if other != name])
        print(f"| {name} | {choice} | {shown(results[choice][name])} | {shown(results[now][name])} |")
    choice = best(SETS)
    print(f"best on all: {choice}")
    for name in SETS:
        low, high = (pick(sum(result[name]) / 3 for result in results.values()) for pick in (min, max))
        print(f"{name}: mean of the three figures from {low:.3f} to {high:.3f} over the grid")


if __name__ == "__main__":
    main()
