#!/usr/bin/env bash
# Draws where the time of a route goes, as docs/route.svg: `find_best_mcp` over 2,000 tools, task after task, sampled by
# perf. Width is time; the encoder's thread and the one that ranks stand side by side.
#
# usage: flame_graph.sh
#
# Needs Linux with perf (`apt-get install linux-perf`), and crates.io for inferno, which goes to target/inferno.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}
command -v perf >/dev/null || {
  echo "flame_graph: perf is not there; apt-get install linux-perf" >&2
  exit 1
}
cargo install --quiet --root "$target/inferno" --version 0.12.8 --no-default-features --features cli inferno
samples=$(mktemp -d)
trap 'rm -rf "$samples"' EXIT
cargo bench --locked --no-run --bench find_best_mcp
# The first run fills the cache of vectors.
cargo bench --locked --bench find_best_mcp -- --profile-time 1 >/dev/null
bench=$(cargo bench --locked --no-run --bench find_best_mcp --message-format json |
  python3 -c '
import json, sys

for line in sys.stdin:
    found = json.loads(line)
    if found.get("target", {}).get("name") == "find_best_mcp" and found.get("executable"):
        print(found["executable"])')
perf record --event cpu-clock --freq 499 --call-graph dwarf,16384 --output "$samples/perf.data" -- \
  "$bench" --bench --profile-time 10 'tools$' >/dev/null
perf script --input "$samples/perf.data" 2>/dev/null | "$target/inferno/bin/inferno-collapse-perf" >"$samples/folded"
mkdir -p docs
"$target/inferno/bin/inferno-flamegraph" --title "find_best_mcp over 2,000 tools" --minwidth 0.3 --width 1400 \
  "$samples/folded" >docs/route.svg
echo "docs/route.svg, from $(wc -l <"$samples/folded") different stacks"
