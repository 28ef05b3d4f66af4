# What soak.sh, fleet.sh and fault_matrix.sh share. Each sources this, with its name in `me`.
#
# ORCHESTRATOR_BINARY names a built orchestrator; otherwise cargo builds it, and CARGO_TARGET_DIR is
# honoured. The fixture children are in the folder examples/ beside it, as cargo has it; FIXTURES may name
# another.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# The commands of this folder.
reliability=$root/scripts/reliability

die() {
  printf "$me: %s\n" "$@" >&2
  exit 1
}

# Sets `python`.
find_python() {
  [[ -d /proc/self ]] || die "there is no /proc here; this needs Linux, to see what becomes of processes"
  python=
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$(command -v "$candidate")
      break
    fi
  done
  [[ $python ]] || die "no python3 of version 3.11 or newer found; install one"
}

# Ends before anything is installed or built if that would be in vain.
find_orchestrator() {
  if [[ ${ORCHESTRATOR_BINARY-} ]]; then
    [[ -f $ORCHESTRATOR_BINARY && -x $ORCHESTRATOR_BINARY ]] ||
      die "$ORCHESTRATOR_BINARY is not there or cannot be run"
    orchestrator=$(realpath -s "$ORCHESTRATOR_BINARY")
  else
    command -v cargo >/dev/null || die "cargo not found; install Rust from https://rustup.rs"
    orchestrator=
  fi
}

# Sets `orchestrator` and `fixtures`. The profile is debug or release; the rest is for cargo build.
build() {
  local profile=$1
  shift
  if [[ -z $orchestrator ]]; then
    if [[ $profile == release ]]; then set -- --release "$@"; fi
    echo "$me: building (some minutes the first time)" >&2
    (cd "$root" && cargo build --locked --quiet "$@")
    orchestrator=$(cd "$root" && realpath -s "${CARGO_TARGET_DIR:-target}/$profile/orchestrator")
  fi
  fixtures=${FIXTURES:-$(dirname "$orchestrator")/examples}
}
