#!/usr/bin/env python3
"""What each part of the ranking is worth: the labelled sets with all of it, and without one part after the other.

usage: bench_ranking.py ORCHESTRATOR [SHARED] [--vectors FILE]

SHARED is the folder with eval/ and train/ (../shared). The parts are those of models/ranking.json; where one cosine is
left out, the others count for it. Printed is a Markdown table.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
WEIGHTS = json.loads((PROJECT / "models" / "ranking.json").read_text())
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


def sets(shared, pack):
    """Name, tools, queries, examples."""
    evaluation, golden = shared / "eval", PROJECT / "tests" / "data" / "golden"
    fleet, livemcpbench = evaluation / "fleet", evaluation / "livemcpbench"
    return [
        ("fleet, the pack", fleet / "tools.jsonl", fleet / "queries.jsonl", pack),
        ("fleet", fleet / "tools.jsonl", fleet / "queries.jsonl", None),
        ("golden set, the pack", fleet / "tools.jsonl", golden / "reported.jsonl", pack),
        (
            "LiveMCPBench, by others",
            livemcpbench / "tools.jsonl",
            livemcpbench / "queries.jsonl",
            shared / "train" / "livemcpbench-examples.jsonl",
        ),
        ("LiveMCPBench", livemcpbench / "tools.jsonl", livemcpbench / "queries.jsonl", None),
        ("MCPProxy", *(evaluation / "mcpproxy-golden" / name for name in ("tools.jsonl", "queries.jsonl")), None),
        ("Seal-Tools", *(evaluation / "seal-tools" / name for name in ("tools.jsonl", "queries.jsonl")), None),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("orchestrator", type=Path)
    parser.add_argument("shared", type=Path, nargs="?", default=PROJECT.parent / "shared")
    parser.add_argument("--vectors", type=Path, help="keep the vectors in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        exported = subprocess.run(
            [arguments.orchestrator, "examples", "export", "--shipped"], check=True, capture_output=True
        )
        (scratch / "pack.jsonl").write_bytes(exported.stdout)
        measured = sets(arguments.shared, scratch / "pack.jsonl")
        print("| H@1 / R@5 / nDCG@5 | " + " | ".join(name for name, *_ in measured) + " |")
        print("| --- |" + " --- |" * len(measured))
        for part, changes in PARTS:
            changed = {group: values | changes.get(group, {}) for group, values in WEIGHTS.items()}
            (scratch / "weights.json").write_text(json.dumps(changed))
            command = [arguments.orchestrator, "eval", "--json", "--weights", scratch / "weights.json"]
            command += ["--vectors", arguments.vectors or scratch / "vectors.db"]
            of_examples = "nearest" in changes.get("tool", {})
            cells = [
                "" if of_examples and not examples else measure(command, tools, queries, examples)
                for _, tools, queries, examples in measured
            ]
            print(f"| {part} | " + " | ".join(cells) + " |", flush=True)


def measure(command, tools, queries, examples):
    command = [*command, "--tools", tools, "--queries", queries, *(["--examples", examples] if examples else [])]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return " / ".join(f"{figures[name]:.3f}".removeprefix("0") for name in ("h1", "r5", "ndcg5"))


if __name__ == "__main__":
    main()
