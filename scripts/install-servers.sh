#!/usr/bin/env bash
# Installs five real MCP servers into .servers/ for the tests: everything, filesystem, memory (npm),
# time and git (PyPI), and writes .servers/mcp.json, which starts them.
#
# usage: install-servers.sh [--clients]
#
# --clients adds what the tests drive the orchestrator with: the MCP inspector (npm). The other client,
# the Python SDK `mcp`, comes with the Python servers.
#
# All versions are pinned: servers/package-lock.json and servers-requirements.txt. To renew the first,
# edit package.json there and run `npm install --package-lock-only --omit-lockfile-registry-resolved=true`.
# Does nothing when the pinned versions are installed; `rm -rf .servers` starts afresh.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scripts=$root/scripts
servers=$root/.servers

die() {
  printf 'install-servers: %s\n' "$@" >&2
  exit 1
}

case ${1-} in
  '') wanted=servers ;;
  --clients) wanted=clients ;;
  *) die "unknown argument '$1'; usage: install-servers.sh [--clients]" ;;
esac

# The path belongs to the stamp because a virtual environment and mcp.json break when moved.
pinned=$({ echo "$root"; cat "$0" "$scripts"/servers/package*.json "$scripts/servers-requirements.txt"; } | cksum)
installed=$(cat "$servers/stamp" 2>/dev/null || true)
if [[ $installed == "$pinned $wanted" || $installed == "$pinned clients" ]]; then
  echo "install-servers: $servers is up to date" >&2
  exit
fi

node=$(command -v node) || die "node not found; install Node.js 20 or newer, with npm"
node_version=$(node -p process.versions.node)
((${node_version%%.*} >= 20)) || die "node $node_version is too old; install Node.js 20 or newer"
command -v npm >/dev/null || die "npm not found; install it (it comes with Node.js; Debian: apt install npm)"

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[[ $python ]] || die "no python3 of version 3.11 or newer found; install one"

rm -f "$servers/stamp"
mkdir -p "$servers/npm" "$servers/data"

echo "install-servers: installing the npm packages ($wanted)" >&2
cp "$scripts"/servers/package*.json "$servers/npm/"
omit=()
if [[ $wanted == servers ]]; then omit=(--omit=dev); fi
# The inspector asks for node 22, but its --cli mode runs on 20: --loglevel=error hides that warning.
npm ci --prefix "$servers/npm" --ignore-scripts --no-audit --no-fund --loglevel=error ${omit[@]+"${omit[@]}"} >&2 ||
  die "npm could not install the servers; check the network and 'npm config get registry'"

echo "install-servers: installing the Python packages" >&2
"$python" -m venv --clear "$servers/venv" >&2 ||
  die "$python cannot make a virtual environment; install its venv and pip modules (Debian: apt install python3-venv)"
"$servers/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$scripts/servers-requirements.txt" >&2 ||
  die "pip could not install the servers; check the network, or name a mirror in PIP_INDEX_URL"

"$python" - "$root" "$node" >"$servers/mcp.json" <<'PYTHON'
import json, sys

root, node = sys.argv[1:]
servers = f"{root}/.servers"


def npm(package, *arguments):
    return {"command": node, "args": [f"{servers}/npm/node_modules/@modelcontextprotocol/{package}/dist/index.js", *arguments]}


def python(program, *arguments):
    return {"command": f"{servers}/venv/bin/{program}", "args": list(arguments)}


config = {
    "everything": npm("server-everything"),
    "filesystem": npm("server-filesystem", root),
    "memory": npm("server-memory") | {"env": {"MEMORY_FILE_PATH": f"{servers}/data/memory.jsonl"}},
    # A fixed time zone, for its name is part of the tools' descriptions.
    "time": python("mcp-server-time", "--local-timezone", "UTC"),
    "git": python("mcp-server-git", "--repository", root),
}
json.dump({"mcpServers": config}, sys.stdout, indent=2)
print()
PYTHON

echo "$pinned $wanted" >"$servers/stamp"
echo "install-servers: done; $servers/mcp.json starts the servers" >&2
