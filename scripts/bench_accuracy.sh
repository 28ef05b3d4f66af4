#!/usr/bin/env bash
# Ranks the labelled sets with the stock encoder and with ours, by vectors alone and by the product's whole
# ranking, without and with example tasks, and prints the figures as Markdown, with 95 % bootstrap intervals.
#
# usage: bench_accuracy.sh [SHARED [UNQUANTIZED]]
#
# SHARED is the folder with eval/ and train/ (../shared). Where that is not there and none is given, only the public
# sets are measured, as scripts/fetch_labelled_sets.py puts them into target/labelled-sets/. UNQUANTIZED is the folder
# of our encoder before it was packed, which is measured as well. ORCHESTRATOR_BINARY names a release build; otherwise
# one is built here. Vectors are kept in target/bench-cache/, so that only the first run takes its time: some minutes a
# model.
#
# "unseen" are the tasks of 15 servers that took no part in training (scripts/train/held-out-servers.json), over
# all tools of fleet; they come from the shipped pack, so they are only asked without it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
shared=${1-../shared}
unquantized=${2-}
target=${CARGO_TARGET_DIR:-target}

eval=$shared/eval
if [[ ! -d $eval/fleet ]]; then
  (($# == 0)) || {
    echo "bench_accuracy: $eval is not there; give the folder of the labelled sets" >&2
    exit 1
  }
  shared=
  eval=$target/labelled-sets
  echo "bench_accuracy: without fleet, \"unseen\" and the examples by others: ../shared is not there, and they are not public" >&2
  # The last file of all. Sets that differ from those measured before are told of, and measured.
  last=$eval/mcpproxy-golden/queries.jsonl
  [[ -f $last ]] || scripts/fetch_labelled_sets.py "$eval" || [[ -f $last ]]
fi
if [[ -z ${ORCHESTRATOR_BINARY-} ]]; then
  cargo build --release --locked >&2
  ORCHESTRATOR_BINARY=$target/release/orchestrator
fi
scripts/fetch-model.sh

cache=$target/bench-cache
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache"

python3 - "$shared" "$eval" "$work" <<'PYTHON'
import json, pathlib, sys

shared = sys.argv[1]
labelled, work = map(pathlib.Path, sys.argv[2:])


def read(file):
    return [json.loads(line) for line in open(file)]


def write(name, lines):
    (work / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


if shared:
    held_out = set(json.load(open("scripts/train/held-out-servers.json")))
    write("unseen.jsonl", [
        {"query": task, "relevant": [[line["tool"]]]}
        for line in read(f"{shared}/train/tool-tasks.jsonl")
        if line["tool"].split(":")[0] in held_out
        for task in line["tasks"]
    ])
queries = read(labelled / "seal-tools/queries.jsonl")
write("single-slot.jsonl", [query for query in queries if len(query["relevant"]) == 1])
PYTHON
"$ORCHESTRATOR_BINARY" examples export --shipped >"$work/pack.jsonl"

# measure SET TOOLS QUERIES RANKING EXAMPLES [OPTIONS]: a row for each model
measure() {
  local set=$1 tools=$2 queries=$3 ranking=$4 examples=$5 model name
  shift 5
  for model in all-MiniLM-L6-v2 ${unquantized:+"$unquantized"} tool-encoder-v1; do
    case $model in
      all-MiniLM-L6-v2) name=stock ;;
      tool-encoder-v1) name=ours ;;
      *) name="ours, not quantized" ;;
    esac
    "$ORCHESTRATOR_BINARY" --model "$model" eval --json --intervals --tools "$tools" --queries "$queries" \
      --vectors "$cache/accuracy.db" "$@" | python3 -c '
import json, sys

measured = json.load(sys.stdin)
cells = sys.argv[1:]
for figure in ["h1", "h5", "r5", "ndcg5", "server_h1"]:
    low, high = measured["intervals"][figure]
    cells.append(f"{measured[figure]:.3f} ({low:.2f}–{high:.2f})".replace("0.", "."))
print("| " + " | ".join(cells) + " |", flush=True)' "$set" "$ranking" "$examples" "$name"
  done
}

echo '| set | ranking | examples | encoder | H@1 | H@5 | R@5 | nDCG@5 | server H@1 |'
echo '|---|---|---|---|---|---|---|---|---|'
for ranking in dense hybrid; do
  if [[ -n $shared ]]; then
    measure fleet "$eval"/fleet/{tools,queries}.jsonl "$ranking" none --mode "$ranking"
    measure unseen "$eval/fleet/tools.jsonl" "$work/unseen.jsonl" "$ranking" none --mode "$ranking"
  fi
  measure livemcpbench "$eval"/livemcpbench/{tools,queries}.jsonl "$ranking" none --mode "$ranking"
  measure mcpproxy-golden "$eval"/mcpproxy-golden/{tools,queries}.jsonl "$ranking" none --mode "$ranking"
  measure seal-tools "$eval/seal-tools/tools.jsonl" "$work/single-slot.jsonl" "$ranking" none --mode "$ranking"
done
if [[ -n $shared ]]; then
  measure fleet "$eval"/fleet/{tools,queries}.jsonl hybrid "the pack" --examples "$work/pack.jsonl"
fi
for examples in ${shared:+"$shared/train/livemcpbench-examples.jsonl"} tests/data/livemcpbench-examples.jsonl; do
  measure livemcpbench "$eval"/livemcpbench/{tools,queries}.jsonl hybrid "${examples#"$shared/"}" --examples "$examples"
done
