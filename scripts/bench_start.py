#!/usr/bin/env python3
"""Times how soon `orchestrator serve` answers after its start, with a warm data folder.

usage: bench_start.py [RUNS]

Needs `cargo build --release --bins --examples` and the recorded servers in ../shared/servers: each is
played by the fixture child, all are indexed once (words only, vectors are not waited for at start),
then `serve` is started RUNS times (default 20) and asked `initialize` and `tools/list`.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
HELLO = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
]


def start(program, environment):
    """Milliseconds from the start until each of the two answers."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [program, "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    process.stdin.write("".join(json.dumps(line) + "\n" for line in HELLO).encode())
    process.stdin.flush()
    times = []
    for _ in range(2):
        assert process.stdout.readline(), "it answers"
        times.append((time.perf_counter() - began) * 1000)
    process.stdin.close()
    process.wait()
    return times


def main(runs):
    recorded = ROOT.parent / "shared" / "servers"
    files = [file for file in sorted(recorded.glob("*.json")) if file.stem != "fleet"]
    if not files:
        sys.exit(f"{recorded} is not there")
    fixture = str(RELEASE / "examples" / "fixture-server")
    servers = {file.stem: {"command": fixture, "args": ["--listing", str(file)]} for file in files}
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "config.json"
        config.write_text(json.dumps({"mcpServers": servers, "orchestrator": {"model": "/none"}}))
        environment = {
            **os.environ,
            "ORCHESTRATOR_CONFIG": str(config),
            "ORCHESTRATOR_DATA_DIR": str(pathlib.Path(folder) / "data"),
            "ORCHESTRATOR_LOG": "error",
        }
        program = str(RELEASE / "orchestrator")
        subprocess.run([program, "reindex"], check=True, env=environment)
        config.write_text(json.dumps({"mcpServers": servers}))
        times = [start(program, environment) for _ in range(runs)]
    for name, values in zip(["initialize", "tools/list"], zip(*times)):
        print(f"{name}: median {statistics.median(values):.0f} ms, longest {max(values):.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
