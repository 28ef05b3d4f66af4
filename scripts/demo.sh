#!/usr/bin/env bash
# Builds the orchestrator, installs five real MCP servers, indexes them, and routes real tasks to them. Nothing here is canned: every answer is a server's own.
#
# Needs Rust, Node.js 20 or newer and Python 3.11 or newer. Everything it installs goes to .servers/ and
# target/, which git ignores; a second run finds all of it there.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v cargo >/dev/null || {
  echo "demo: cargo not found; install Rust from https://rustup.rs" >&2
  exit 1
}

bold=$'\e[1m' plain=$'\e[0m'
[[ -t 1 && -z ${NO_COLOR-} ]] || bold='' plain=''

echo "demo: building (some minutes the first time)" >&2
cargo build --release --locked --quiet
scripts/install-servers.sh

orchestrator=${CARGO_TARGET_DIR:-target}/release/orchestrator
export ORCHESTRATOR_CONFIG=.servers/mcp.json ORCHESTRATOR_DATA_DIR=.servers/demo-data

# The first lines of a long answer.
shorten() {
  awk -v most=24 'NR <= most; END { if (NR > most) print "… (" NR - most " more lines)" }'
}

# Shows a command as it could be typed, and runs it. A task that is not done yet (3) is no failure.
run() {
  local code=0
  printf '\n%s$ orchestrator' "$bold"
  printf ' %s' "$1"
  [[ $# -lt 2 ]] || printf " '%s'" "${@:2:1}"
  [[ $# -lt 3 ]] || printf " %s '%s'" "${@:3}"
  printf '%s\n' "$plain"
  "$orchestrator" "$@" | shorten || code=$?
  [[ $code == 0 || $code == 3 ]] || exit "$code"
  last=$code
}

# A task as a model would do it: first as it is; if arguments are missing, again with them.
task() {
  run execute "$1"
  [[ $last == 0 || $# -lt 2 ]] || run execute "$1" --arguments "$2"
}

run reindex
"$orchestrator" status
# A note to be found below.
"$orchestrator" call memory create_entities --arguments \
  '{"entities": [{"name": "tea", "entityType": "note", "observations": ["buy first flush Darjeeling"]}]}' >/dev/null

task "what time is it in Tokyo right now" '{"timezone": "Asia/Tokyo"}'
task "list the files in the models folder" "{\"path\": \"$PWD/models\"}"
task "what changed in the last commit" "{\"repo_path\": \"$PWD\", \"revision\": \"HEAD\"}"
task "search my notes for tea" '{"query": "tea"}'
task "add 17 and 25" '{"a": 17, "b": 25}'
task "book me a flight to Mars"
run audit
