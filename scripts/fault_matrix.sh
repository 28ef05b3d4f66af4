#!/usr/bin/env bash
# Runs every vice of a hostile child against the orchestrator, next to two healthy children, and tells for
# each how the sick call was answered and what the healthy ones noticed; see reliability/matrix.py.
#
# usage: fault_matrix.sh [--check] [--release] [--compare-fastmcp] [ARGUMENTS OF matrix.py]
#
# --check ends with 1 if anything is not as reliability/cells.py promises. --compare-fastmcp runs the same
# cells against FastMCP's proxy as well and prints both side by side as markdown; it installs FastMCP to
# .servers/fastmcp, with the versions of servers/fastmcp-requirements.txt. matrix.py has, among others,
# --only REGEX, which takes cells by their names, and --json FILE.
#
# Needs Rust, Python 3.11 or newer, and Linux. Or no Rust: ORCHESTRATOR_BINARY names a built orchestrator,
# and FIXTURES the folder of the fixture children, if that is not examples/ beside it.
set -euo pipefail

me=fault_matrix
# shellcheck source=reliability/prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/reliability/prepare.sh"

profile=debug with_fastmcp='' wants_help='' arguments=()
for argument; do
  case $argument in
    -h | --help) wants_help=yes ;;
    --release) profile=release ;;
    --compare-fastmcp) with_fastmcp=yes ;;
    *) arguments+=("$argument") ;;
  esac
done

find_python
if [[ $wants_help ]]; then exec "$python" "$reliability/matrix.py" --help; fi
"$python" "$reliability/matrix.py" --check-arguments ${arguments[@]+"${arguments[@]}"}
find_orchestrator

if [[ $with_fastmcp ]]; then
  requirements=$root/scripts/servers/fastmcp-requirements.txt
  fastmcp=$root/.servers/fastmcp
  # The path belongs to the stamp because a virtual environment breaks when moved.
  pinned=$({ echo "$root"; cat "$requirements"; } | cksum)
  if [[ $(cat "$fastmcp/stamp" 2>/dev/null || true) != "$pinned" ]]; then
    echo "fault_matrix: installing FastMCP" >&2
    mkdir -p "$root/.servers"
    "$python" -m venv --clear "$fastmcp" >&2 ||
      die "$python cannot make a virtual environment; install its venv and pip modules (Debian: apt install python3-venv)"
    "$fastmcp/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2 ||
      die "pip could not install FastMCP; check the network, or name a mirror in PIP_INDEX_URL"
    echo "$pinned" >"$fastmcp/stamp"
  fi
  arguments+=(--fastmcp "$fastmcp/bin/python")
fi

build "$profile" --bins --examples
exec "$python" "$reliability/matrix.py" --orchestrator "$orchestrator" --fixtures "$fixtures" \
  ${arguments[@]+"${arguments[@]}"}
