#!/usr/bin/env bash
# Gets whatever the tests need (real servers, real clients) and runs all of them, those of the ranking and of the decisions
# on labelled sets (some minutes) at last; then, on Linux, every fault of a child, a minute of load with random kills, and a dozen
# real servers (about seven minutes more).
#
# usage: test.sh [ARGUMENTS OF cargo test]
#
# With arguments only cargo test runs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v cargo >/dev/null || {
  echo "test: cargo not found; install Rust from https://rustup.rs" >&2
  exit 1
}

scripts/install-servers.sh --clients
# Ours is in this repository; this one is only compared with, and what compares says so where it is not there.
scripts/fetch-model.sh || echo "test: going on without the stock model" >&2

# Without a choice of targets, cargo also builds the fixture child (an example).
cargo test --locked "$@"
# Benches run once each here, as tests: they have to work, their figures mean nothing.
cargo test --locked --benches "$@"

# One after the other: the second finds the vectors that the first made.
(($#)) || cargo test --locked --test it golden -- --ignored --test-threads 1

if (($# == 0)) && [[ -d /proc/self ]]; then
  # As cargo test has built it.
  ORCHESTRATOR_BINARY=$(realpath "${CARGO_TARGET_DIR:-target}/debug/orchestrator")
  export ORCHESTRATOR_BINARY
  scripts/fault_matrix.sh --check
  scripts/soak.sh --ci
  scripts/fleet.sh --ci
fi
