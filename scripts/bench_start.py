#!/usr/bin/env python3
"""Measures `orchestrator serve` from its start to the first route, with a warm data folder, and the memory that it takes.

usage: bench_start.py FOLDER [RUNS]

FOLDER has a config.json, as scripts/large_catalog.py makes one, and data/, as `orchestrator reindex` fills it. Prints a
line of JSON: medians and the longest of RUNS (20) in ms from the start of the process until `initialize`, `tools/list` and
the first `execute` are answered, and its memory after that in MB. ORCHESTRATOR_BINARY names another program than the
release build.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
ROUTE = {"name": "execute", "arguments": {"task": "what time is it in Tokyo right now", "dry_run": True}}
# The first line, then what follows upon its answer.
HELLO = [{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": CLIENT}]
REST = [
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": ROUTE},
]


def memory(process):
    """Resident memory, and what of it is no file of the program, in MB."""
    status = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    lines = dict(line.split(":", 1) for line in status)
    return [int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")]


def start(command, environment):
    """Milliseconds from the start until each of the three answers, and the memory a moment later."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    times = []
    for lines, answers in ((HELLO, 1), (REST, 2)):
        process.stdin.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        process.stdin.flush()
        for _ in range(answers):
            assert process.stdout.readline(), "it answers"
            times.append((time.perf_counter() - began) * 1000)
    time.sleep(0.5)
    taken = memory(process.pid)
    process.stdin.close()
    process.wait()
    return times + taken


def main(folder, runs):
    program = os.environ.get("ORCHESTRATOR_BINARY", RELEASE / "orchestrator")
    command = [program, "--config", folder / "config.json", "--data-dir", folder / "data", "serve"]
    environment = {**os.environ, "ORCHESTRATOR_LOG": "error"}
    measured = list(zip(*(start(command, environment) for _ in range(runs))))
    result = {"folder": folder.name}
    for name, values in zip(["initialize_ms", "tools_list_ms", "first_route_ms", "rss_mb", "anonymous_mb"], measured):
        result[name] = round(statistics.median(values), 1)
        result[f"{name}_longest"] = round(max(values), 1)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
