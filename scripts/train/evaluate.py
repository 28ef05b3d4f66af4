#!/usr/bin/env python3
"""Dense ranking alone (one vector a tool, its own text, no example tasks) on the labelled sets.

usage: evaluate.py --shared FOLDER MODEL …
"""

import argparse
import math
from pathlib import Path

import torch

import data
import texts as words
from encoder import Encoder, Texts, embed_texts

SETS = ["fleet", "livemcpbench", "mcpproxy-golden", "seal-tools"]


def metrics(ranked, queries):
    """Averages over the queries that have a slot; as in src/commands/eval/metrics.rs."""
    sums = dict.fromkeys(["h1", "h5", "r5", "ndcg5", "server_h1"], 0.0)
    count = 0
    for ids, query in zip(ranked, queries):
        slots = [set(slot) for slot in query["relevant"]]
        if not slots:
            continue
        count += 1
        hits = [any(tool in slot for slot in slots) for tool in ids]
        servers = {tool.split(":")[0] for slot in slots for tool in slot}
        sums["h1"] += hits[0]
        sums["h5"] += any(hits[:5])
        sums["r5"] += sum(any(tool in slot for tool in ids[:5]) for slot in slots) / len(slots)
        sums["server_h1"] += ids[0].split(":")[0] in servers
        found, gain = set(), 0.0
        for rank, tool in enumerate(ids[:5]):
            slot = next((at for at, slot in enumerate(slots) if tool in slot and at not in found), None)
            if slot is not None:
                found.add(slot)
                gain += 1 / math.log2(rank + 2)
        sums["ndcg5"] += gain / sum(1 / math.log2(rank + 2) for rank in range(min(5, len(slots))))
    return {name: value / count for name, value in sums.items()}


class Judge:
    """Ranks the labelled sets, and the tasks of the held-out servers over all tools of fleet."""

    def __init__(self, shared, texts, sets=SETS):
        self.texts = texts
        self.sets = {}
        for name in sets:
            tools = words.read(shared / f"eval/{name}/tools.jsonl")
            queries = words.read(shared / f"eval/{name}/queries.jsonl")
            if name == "seal-tools":
                queries = [query for query in queries if len(query["relevant"]) == 1]
            self.sets[name] = (tools, queries)
        held_out = data.held_out_servers()
        unseen = [
            {"query": task, "relevant": [[line["tool"]]]}
            for line in words.read(shared / "train/tool-tasks.jsonl")
            if line["tool"].split(":")[0] in held_out
            for task in line["tasks"]
        ]
        self.sets["unseen"] = (data.fleet_tools(shared), unseen)

    def measure(self, encoder):
        measured, known = {}, {}
        for name, (tools, queries) in self.sets.items():
            ids = [words.tool_id(tool) for tool in tools]
            key = tuple(ids)
            if key not in known:
                known[key] = self.embed(encoder, [words.text_of_tool(tool) for tool in tools])
            tasks = self.embed(encoder, [query["query"] for query in queries])
            best = (tasks @ known[key].T).topk(min(10, len(ids))).indices.tolist()
            measured[name] = metrics([[ids[at] for at in row] for row in best], queries)
        return measured

    def embed(self, encoder, strings):
        device = next(encoder.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=False):
            return embed_texts(encoder, self.texts, strings, device)

    def line(self, encoder):
        shown = []
        for name, figures in self.measure(encoder).items():
            shown.append(f"{name} " + " ".join(f"{value:.3f}".lstrip("0") for value in figures.values()))
        return " | ".join(shown)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    arguments = parser.parse_args()
    for model in arguments.models:
        print(model, "H@1 H@5 R@5 nDCG@5 server H@1")
        for name, figures in Judge(arguments.shared, Texts(model)).measure(Encoder(model)).items():
            print(f"  {name:16}", " ".join(f"{value:.3f}" for value in figures.values()))


if __name__ == "__main__":
    main()
