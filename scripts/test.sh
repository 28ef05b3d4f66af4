#!/usr/bin/env bash
# Gets whatever the tests need (the embedding model, real servers, real clients) and runs all of them.
#
# usage: test.sh [ARGUMENTS OF cargo test]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v cargo >/dev/null || {
  echo "test: cargo not found; install Rust from https://rustup.rs" >&2
  exit 1
}

scripts/fetch-model.sh
scripts/install-servers.sh --clients

# Without a choice of targets, cargo also builds the fixture child (an example).
cargo test --locked "$@"
# Benches run once each here, as tests: they have to work, their figures mean nothing.
cargo test --locked --benches "$@"
