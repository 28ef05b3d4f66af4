#!/usr/bin/env python3
"""Writes what the confidence is fitted on: `orchestrator eval --evidence` over the labelled sets and over example tasks.

usage: evidence.py ORCHESTRATOR FOLDER [SHARED]

FOLDER gets a file for each set, SHARED is the folder with eval/ and train/ (../shared). Besides the labelled sets these
are asked, all of tools that the encoder does not know from its training, or written for it:

- unseen: examples of the pack's servers in scripts/train/held-out-servers.json, each while the others of its tool are
  there and itself is not, and all of them without any examples;
- examples: the same of LiveMCPBench's tools;
- written: scripts/train/near-misses.jsonl, tasks that no tool of fleet does, and as many of the same kind that one does.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from labelled_sets import PROJECT, shipped_examples



def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(file, lines):
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


# Of the examples of each tool, how many are left out and asked, one after the other.
ASKED = 2


class Evidence:
    def __init__(self, orchestrator, folder, scratch):
        self.orchestrator, self.folder, self.scratch = orchestrator, folder, scratch

    def write(self, name, tools, queries, examples=None):
        command = [self.orchestrator, "eval", "--evidence", self.folder / f"{name}.jsonl"]
        command += ["--vectors", self.scratch / "vectors.db", "--tools", tools, "--queries", queries]
        command += ["--examples", examples] if examples else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def left_out(self, name, tools, examples, is_asked):
        """Each example of the tools that are asked, with the others and with none."""
        lines, every = read(examples), []
        for fold in range(ASKED):
            parts = [(line["tool"], line["tasks"][fold : fold + 1], line["tasks"]) for line in lines]
            others = [
                {"tool": tool, "tasks": [task for task in tasks if task not in asked]} for tool, asked, tasks in parts
            ]
            asked = [
                {"query": task, "relevant": [[tool]]} for tool, tasks, _ in parts if is_asked(tool) for task in tasks
            ]
            write(self.scratch / "others.jsonl", others)
            write(self.scratch / "asked.jsonl", asked)
            self.write(f"{name}-{fold}", tools, self.scratch / "asked.jsonl", self.scratch / "others.jsonl")
            every += asked
        write(self.scratch / "asked.jsonl", every)
        self.write(f"{name}-x", tools, self.scratch / "asked.jsonl")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("orchestrator", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("shared", type=Path, nargs="?", default=PROJECT.parent / "shared")
    arguments = parser.parse_args()
    sets = arguments.shared / "eval"
    fleet, benchmark, proxy = (sets / name for name in ["fleet", "livemcpbench", "mcpproxy-golden"])
    five, three = PROJECT / "tests/data/livemcpbench-examples.jsonl", arguments.shared / "train/livemcpbench-examples.jsonl"
    held_out = set(json.loads((PROJECT / "scripts/train/held-out-servers.json").read_text()))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        evidence = Evidence(arguments.orchestrator, arguments.folder, scratch)
        pack = shipped_examples(arguments.orchestrator, scratch)
        written = PROJECT / "scripts/train/near-misses.jsonl"
        for name, tools, queries, variants in [
            ("fleet", fleet, fleet / "queries.jsonl", {"pack": pack, "x": None}),
            ("livemcpbench", benchmark, benchmark / "queries.jsonl", {"five": five, "three": three, "x": None}),
            ("mcpproxy", proxy, proxy / "queries.jsonl", {"x": None}),
            ("written", fleet, written, {"pack": pack, "x": None}),
        ]:
            for variant, examples in variants.items():
                evidence.write(f"{name}-{variant}", tools / "tools.jsonl", queries, examples)
        evidence.left_out("unseen", fleet / "tools.jsonl", pack, lambda tool: tool.split(":")[0] in held_out)
        evidence.left_out("examples", benchmark / "tools.jsonl", three, lambda tool: True)


if __name__ == "__main__":
    main()
