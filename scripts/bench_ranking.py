#!/usr/bin/env python3
"""What each part of the ranking is worth: the labelled sets with all of it, and without one part after the other.

usage: bench_ranking.py ORCHESTRATOR [SHARED] [--vectors FILE]

SHARED is the folder with eval/ and train/ (../shared). The parts are those of models/ranking.json; where one cosine is
left out, the others count for it. Printed is a Markdown table.
"""

import argparse
import tempfile
from pathlib import Path

from labelled_sets import PROJECT, WEIGHTS, evaluate, sets, shipped_examples, shown

HALF = 0.5
# Name, and what is changed of each group.
PARTS = [
    ("all of it", {}),
    ("no clauses", {"task": {"clause": 0.0, "served": 0.0}}),
    ("clauses, but no cover", {"task": {"served": 0.0}}),
    ("no words", {"tool": {"words": 0.0}}),
    ("no text of the tool", {"tool": {"text": 0.0, "nearest": HALF, "mean": HALF}}),
    ("no nearest example", {"tool": {"text": HALF, "nearest": 0.0, "mean": HALF}}),
    ("no mean of the examples", {"tool": {"text": HALF, "nearest": HALF, "mean": 0.0}}),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("orchestrator", type=Path)
    parser.add_argument("shared", type=Path, nargs="?", default=PROJECT.parent / "shared")
    parser.add_argument("--vectors", type=Path, help="keep the vectors in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        vectors = arguments.vectors or scratch / "vectors.db"
        measured = sets(arguments.shared, shipped_examples(arguments.orchestrator, scratch))
        print("| H@1 / R@5 / nDCG@5 | " + " | ".join(measured) + " |")
        print("| --- |" + " --- |" * len(measured))
        for part, changes in PARTS:
            weights = {group: values | changes.get(group, {}) for group, values in WEIGHTS.items()}
            of_examples = "nearest" in changes.get("tool", {})

            def cell(files):
                if of_examples and not files[2]:
                    return ""
                return shown(evaluate(arguments.orchestrator, files, weights, vectors, scratch))

            print(f"| {part} | " + " | ".join(map(cell, measured.values())) + " |", flush=True)


if __name__ == "__main__":
    main()
