"""The labelled sets that ranking is measured on, for the scripts beside this file."""

import json
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
WEIGHTS = json.loads((PROJECT / "models" / "ranking.json").read_text())
FIGURES = ("h1", "r5", "ndcg5")


def shipped_examples(orchestrator, folder):
    """Writes the pack as an example file."""
    exported = subprocess.run([orchestrator, "examples", "export", "--shipped"], check=True, capture_output=True)
    file = folder / "pack.jsonl"
    file.write_bytes(exported.stdout)
    return file


def sets(shared, pack):
    """Tools, queries and examples of each set, by its name. `shared` is the folder with eval/ and train/."""
    evaluation, golden = shared / "eval", PROJECT / "tests" / "data" / "golden"

    def files(name):
        return evaluation / name / "tools.jsonl", evaluation / name / "queries.jsonl"

    return {
        "fleet, the pack": (*files("fleet"), pack),
        "fleet": (*files("fleet"), None),
        "golden set, the pack": (evaluation / "fleet" / "tools.jsonl", golden / "reported.jsonl", pack),
        "LiveMCPBench, by others": (*files("livemcpbench"), shared / "train" / "livemcpbench-examples.jsonl"),
        "LiveMCPBench": (*files("livemcpbench"), None),
        "MCPProxy": (*files("mcpproxy-golden"), None),
        "Seal-Tools": (*files("seal-tools"), None),
    }


def evaluate(orchestrator, files, weights, vectors, scratch):
    """FIGURES of one set with these weights."""
    changed = scratch / "weights.json"
    changed.write_text(json.dumps(weights))
    tools, queries, examples = files
    command = [orchestrator, "eval", "--json", "--weights", changed, "--vectors", vectors]
    command += ["--tools", tools, "--queries", queries, *(["--examples", examples] if examples else [])]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return [measured[figure] for figure in FIGURES]


def shown(figures):
    return " / ".join(f"{figure:.3f}".removeprefix("0") for figure in figures)
