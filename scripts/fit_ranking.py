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
import subprocess
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
WEIGHTS = json.loads((PROJECT / "models" / "ranking.json").read_text())
GRID = {
    ("task", "clause"): [0.2, 0.3, 0.4, 0.5],
    ("task", "served"): [0.02, 0.04, 0.06],
    ("tool", "halfOfWords"): [40, 60, 80],
}
FIGURES = ("h1", "r5", "ndcg5")


def measure(command, weights, scratch):
    file = scratch / "weights.json"
    file.write_text(json.dumps(weights))
    measured = json.loads(subprocess.run([*command, "--weights", file], check=True, capture_output=True).stdout)
    return [measured[figure] for figure in FIGURES]


def changed(choice):
    weights = json.loads(json.dumps(WEIGHTS))
    for (group, name), value in zip(GRID, choice):
        weights[group][name] = value
    return weights


def shown(figures):
    return " / ".join(f"{figure:.3f}".removeprefix("0") for figure in figures)


def commands(orchestrator, shared, vectors, scratch):
    """Name of each set and the command that measures it."""
    exported = subprocess.run([orchestrator, "examples", "export", "--shipped"], check=True, capture_output=True)
    (scratch / "pack.jsonl").write_bytes(exported.stdout)
    seal = (shared / "eval" / "seal-tools" / "queries.jsonl").read_text().splitlines()
    (scratch / "seal.jsonl").write_text("\n".join(seal[::5]))
    asked = {
        "fleet": (shared / "eval/fleet/queries.jsonl", scratch / "pack.jsonl"),
        "livemcpbench": (
            shared / "eval/livemcpbench/queries.jsonl",
            shared / "train/livemcpbench-examples.jsonl",
        ),
        "mcpproxy-golden": (shared / "eval/mcpproxy-golden/queries.jsonl", None),
        "seal-tools": (scratch / "seal.jsonl", None),
    }
    for name, (queries, examples) in asked.items():
        tools = shared / "eval" / name / "tools.jsonl"
        command = [orchestrator, "eval", "--json", "--tools", tools, "--queries", queries, "--vectors", vectors]
        yield name, command + (["--examples", examples] if examples else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("orchestrator", type=Path)
    parser.add_argument("shared", type=Path, nargs="?", default=PROJECT.parent / "shared")
    parser.add_argument("--vectors", type=Path, help="keep the vectors in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        vectors = arguments.vectors or scratch / "vectors.db"
        sets = dict(commands(arguments.orchestrator, arguments.shared, vectors, scratch))
        results = {
            choice: {name: measure(command, changed(choice), scratch) for name, command in sets.items()}
            for choice in itertools.product(*GRID.values())
        }

    def best(names):
        return max(results, key=lambda choice: sum(sum(results[choice][name]) for name in names))

    now = tuple(WEIGHTS[group][name] for group, name in GRID)
    names = ", ".join(name for _, name in GRID)
    print(f"| set | {names}, chosen on the others | H@1 / R@5 / nDCG@5 | with {now} |")
    print("| --- | --- | --- | --- |")
    for name in sets:
        choice = best([other for other in sets if other != name])
        print(f"| {name} | {choice} | {shown(results[choice][name])} | {shown(results[now][name])} |")
    choice = best(sets)
    print(f"best on all: {choice}")
    for name in sets:
        low, high = (pick(sum(result[name]) / 3 for result in results.values()) for pick in (min, max))
        print(f"{name}: mean of the three figures from {low:.3f} to {high:.3f} over the grid")


if __name__ == "__main__":
    main()
