#!/usr/bin/env bash
# Counts the instructions of a forward pass and of a scan with callgrind, and prints them as Markdown: unlike times they
# are the same at each run, so that a change of some percent shows. valgrind has no AVX-512; what it counts are the
# kernels for AVX2.
#
# usage: count_instructions.sh
#
# Needs valgrind (`apt-get install valgrind`). Takes two minutes.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v valgrind >/dev/null || {
  echo "count_instructions: valgrind is not there; apt-get install valgrind" >&2
  exit 1
}
program=$(cargo bench --locked --no-run --bench instructions --message-format json |
  python3 -c '
import json, sys

for line in sys.stdin:
    found = json.loads(line)
    if found.get("target", {}).get("name") == "instructions" and found.get("executable"):
        print(found["executable"])')

# count WHAT SIZE TIMES: instructions of the whole run. One thread, so that nothing waits in a loop.
count() {
  RAYON_NUM_THREADS=1 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 |
    sed -n 's/.*Collected : //p'
}

echo '| what | million instructions |'
echo '| --- | --- |'
for what in "forward 5" "forward 20" "forward 60" "scan 2000" "scan 10000"; do
  read -r kind size <<<"$what"
  few=$(count "$kind" "$size" 2)
  many=$(count "$kind" "$size" 12)
  unit=$([[ $kind == forward ]] && echo tokens || echo rows)
  python3 -c 'import sys; what, few, many = sys.argv[1:]; print(f"| {what} | {(int(many) - int(few)) / 1e7:.2f} |")' \
    "$kind, $size $unit" "$few" "$many"
done
