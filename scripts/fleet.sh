#!/usr/bin/env bash
# Installs real MCP servers from npm and PyPI and drives `orchestrator serve` over all of them at once:
# each is started, its tools are counted, harmless ones are really called and the answers checked, all are
# ended, and no process may be left. Servers that are known not to start have to say why.
#
# usage: fleet.sh [--ci | --all | NAME…]
#
# --ci (the default) takes the servers of servers/fleet/, which are small and pinned with all they need;
# --all takes those of ../shared/servers as well, about 70 that need 4 GB of disk, where that folder is.
#
# Needs Node.js 20 or newer, Python 3.11 or newer, git, and Linux. Installs to .servers/fleet/, and goes on
# where it was broken off; `rm -rf .servers/fleet` starts afresh. After that no network is used: where
# the system lets us, the servers have a loopback interface only. ORCHESTRATOR_BINARY names a built
# orchestrator; otherwise it is built here.
set -euo pipefail

me=fleet
# shellcheck source=reliability/prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/reliability/prepare.sh"

find_python
"$python" "$reliability/fleet_servers.py" --check-arguments "$@"
find_orchestrator
command -v git >/dev/null || die "git not found; install it (Debian: apt install git)"
node=$(command -v node) || die "node not found; install Node.js 20 or newer, with npm"
node_version=$("$node" -p process.versions.node)
((${node_version%%.*} >= 20)) || die "node $node_version is too old; install Node.js 20 or newer"
command -v npm >/dev/null || die "npm not found; install it (it comes with Node.js; Debian: apt install npm)"

cd "$root"
mkdir -p .servers/fleet
# Two at once would empty each other's folders.
exec 9>.servers/fleet/lock
flock --nonblock 9 || die "another fleet.sh runs in this folder; wait for its end"

began=$SECONDS
"$python" "$reliability/fleet_servers.py" "$@"
echo "fleet: installed, in $((SECONDS - began)) s" >&2

build release

# A network namespace that has nothing but a loopback interface: of root, else of a user namespace.
loopback='ip link set lo up && exec "$@"'
isolated=()
for attempt in 'unshare --net' 'unshare --map-root-user --net'; do
  # shellcheck disable=SC2086 # several words on purpose
  if $attempt sh -c "$loopback" sh true 2>/dev/null; then
    read -ra isolated <<<"$attempt"
    isolated+=(sh -c "$loopback" sh)
    break
  fi
done
if ((${#isolated[@]} == 0)); then
  echo "fleet: cannot make a network namespace (unshare --net, ip link): the servers see the network" >&2
fi
# Without the lock's descriptor: a process that is left must not hold it.
${isolated[@]+"${isolated[@]}"} "$python" "$reliability/fleet.py" "$orchestrator" "$@" 9>&-
