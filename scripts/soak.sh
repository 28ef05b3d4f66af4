#!/usr/bin/env bash
# Keeps `orchestrator serve` under load and kills whatever can be killed; see reliability/soak.py for what is
# checked.
#
# usage: soak.sh [--seconds N] [--kills N] [--cycles N] [--ci] [--bench] [--release] [--seed N]
#
# Three phases: SECONDS (600) of load on 20 children, a third of them sick, with random SIGKILLs; the
# orchestrator killed KILLS (200) times under load; children started and ended CYCLES (10000) times. 0 skips
# a phase, --ci is short for 60, 20 and 500. --bench measures calls through the orchestrator and without it
# instead; its figures count with --release only. Ends with 1 when anything is not as promised.
#
# Needs Rust, Python 3.11 or newer, and Linux. Or no Rust: ORCHESTRATOR_BINARY names a built orchestrator,
# and FIXTURES the folder of the fixture children, if that is not examples/ beside it.
set -euo pipefail

me=soak
# shellcheck source=reliability/prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/reliability/prepare.sh"

profile=debug wants_help='' arguments=()
for argument; do
  case $argument in
    -h | --help) wants_help=yes ;;
    --release) profile=release ;;
    --ci) arguments+=(--seconds 60 --kills 20 --cycles 500) ;;
    *) arguments+=("$argument") ;;
  esac
done

find_python
if [[ $wants_help ]]; then exec "$python" "$reliability/soak.py" --help; fi
"$python" "$reliability/soak.py" --check-arguments ${arguments[@]+"${arguments[@]}"}
find_orchestrator
build "$profile" --bins --examples
exec "$python" "$reliability/soak.py" --orchestrator "$orchestrator" --fixtures "$fixtures" \
  ${arguments[@]+"${arguments[@]}"}
