#!/usr/bin/env python3
"""Drives `orchestrator serve` over real MCP servers: starts each, counts its tools, calls harmless ones and
reads the answers, ends all, and looks for what was left behind. The servers are those of fleet_servers.py,
which installs them; fleet.sh runs both.

usage: fleet.py ORCHESTRATOR [--ci | --all | NAME…]
"""

import asyncio
import dataclasses
import json
import math
import os
import re
import shutil
import socket
import sys
import time
import uuid

import fleet_files
import fleet_servers
from figures import number, print_table, shortened
from processes import MARK, Watch, signal_all
from session import Session, configure, text_of

# Owner of the processes that belong to no server.
ORCHESTRATOR = "orchestrator"

# Servers that are started at the same time, and servers of one group: a group has ended before the next
# begins, because all at once would need 7 GB.
CONCURRENT_STARTS = 4
GROUP = 14

# Seconds, within the orchestrator. Those of sick servers are short, so that the ones that hang hold
# up nothing.
TIMEOUTS = {"handshake": 30, "list": 20, "call": 30, "idle": 4, "shutdown": 3}
SICK_TIMEOUTS = {"handshake": 5, "list": 5, "shutdown": 1}
# The user has to be told what is wrong within this: a deadline, three steps of ending, and one to spare.
SICK_LIMIT = SICK_TIMEOUTS["handshake"] + 3 * SICK_TIMEOUTS["shutdown"] + 1
# Idle servers are gone within this: the pool looks for them now and then only, and ending takes its time.
IDLE_LIMIT = 2 * TIMEOUTS["idle"] + 3 * TIMEOUTS["shutdown"] + 3
# For any answer: longer than any deadline that the orchestrator has itself; and for its end.
PATIENCE, END_PATIENCE = 90, 60
# A server that runs has to answer within this while sick ones are started beside it.
SIBLING_LIMIT = 2

# A call for it starts and lists a server, and calls nothing.
NO_SUCH_TOOL = "no-such-tool"


@dataclasses.dataclass
class Row:
    """What came out for one server; one line of a table."""

    server: fleet_servers.Server
    start_ms: float | None = None
    state: str = ""
    tools: int | None = None
    calls: list = dataclasses.field(default_factory=list)
    call_ms: float = 0
    # What the user was told about a sick one.
    told: str = ""
    problem: str | None = None
    # When it was last used, and how long after that its last process was gone.
    used: float = 0
    gone_s: float | None = None
    peak_rss_mb: float = 0
    left: list = dataclasses.field(default_factory=list)


class Host:
    """The orchestrator as its host sees it. What it does not answer is a RuntimeError."""

    def __init__(self, session):
        self.session = session
        self.ready_ms = 0

    @classmethod
    async def start(cls, program, environment, log):
        host = cls(await Session.start([program, "serve"], environment, log, PATIENCE))
        answered, _ = await host.session.initialize()
        if not answered:
            raise RuntimeError(f"the orchestrator {host.silence()} initialize")
        host.ready_ms = (time.perf_counter() - host.session.began) * 1000
        return host

    def silence(self):
        ended = self.session.ended.done()
        return "ended before it answered" if ended else f"did not answer within {PATIENCE} s, or badly,"

    async def call(self, server, tool, arguments):
        """Calls a server's tool; returns whether it failed, the text of the answer, and milliseconds."""
        answer, seconds = await self.session.call_tool(server, tool, arguments)
        if answer is None:
            raise RuntimeError(f"the orchestrator {self.silence()} a call of {server}:{tool}")
        text, failed = text_of(answer)
        if "error" in answer:
            raise RuntimeError(f"the orchestrator answered a call of {server}:{tool} by an error: {text}")
        return failed, text, seconds * 1000

    async def status(self, server):
        found = (await self.session.servers()).get(server)
        if found is None:
            raise RuntimeError(f"list_servers does not tell of {server}")
        return found


async def each(work, rows):
    """For all rows, some at a time."""
    free = asyncio.Semaphore(CONCURRENT_STARTS)

    async def one(row):
        async with free:
            await work(row)

    await asyncio.gather(*map(one, rows))


class Fleet:
    """All servers behind one orchestrator, from the first start to the last end."""

    def __init__(self, servers):
        self.folder = fleet_servers.HOME / "run"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.files = self.folder / "files"
        self.files.mkdir(parents=True)
        fleet_files.make_files(self.files)
        self.page = fleet_files.serve_page()

        self.rows = {server.name: Row(server) for server in servers}
        self.healthy = [row for row in self.rows.values() if not row.server.sick]
        self.sick = [row for row in self.rows.values() if row.server.sick]
        # Two groups at least: one is closed for idleness, the last one ends with the session.
        count = max(2, math.ceil(len(self.healthy) / GROUP))
        size = math.ceil(len(self.healthy) / count) or 1
        self.groups = [self.healthy[at : at + size] for at in range(0, len(self.healthy), size)]
        self.problems = []

    @property
    def last_group(self):
        return self.groups[-1] if self.groups else []

    def configuration(self, run):
        """Servers and settings."""
        entries, overlays = {}, {}
        for row in self.rows.values():
            name, command = row.server.name, row.server.command(self.files)
            environment = {**row.server.environment(self.files), MARK: f"{run}/{name}"}
            entries[name] = {
                "command": command[0],
                "args": command[1:],
                "env": environment,
                "cwd": str(self.files),
            }
            if row.server.sick:
                overlays[name] = {"timeouts": SICK_TIMEOUTS}
            elif row in self.last_group:
                overlays[name] = {"timeouts": {"idle": 3600}}
        return entries, {"timeouts": TIMEOUTS, "servers": overlays}

    async def start(self, program):
        run = uuid.uuid4().hex
        environment = {
            key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TMPDIR") if key in os.environ
        }
        # Servers write to their home; it is not the user's here.
        environment |= {"HOME": str(self.files), MARK: f"{run}/{ORCHESTRATOR}"}
        environment |= configure(self.folder, *self.configuration(run))
        self.watch = Watch(run, ORCHESTRATOR)
        with open(self.folder / "orchestrator.log", "wb") as log:
            self.host = await Host.start(program, environment, log)

    async def drive(self):
        """Runs everything. What is wrong is in the rows and in `problems` afterwards."""
        try:
            for group in self.groups:
                await each(self.check, group)
                fleet_servers.say(f"checked {', '.join(row.server.name for row in group)}")
                if group is not self.last_group:
                    await self.await_idle_end(group)
            if self.sick:
                await self.check_sick_beside_healthy()
        except (RuntimeError, OSError) as error:
            self.problems.append(str(error))
        await self.end()

    async def check(self, row):
        """Starts a healthy server, counts its tools, and calls what is harmless."""
        name = row.server.name
        try:
            _, text, row.start_ms = await self.host.call(name, NO_SUCH_TOOL, {})
            row.state = (await self.host.status(name))["state"]
            if row.state != "ready":
                row.problem = f"it did not start: {text}"
                return
            row.tools = await self.count_tools(name)
            if not row.tools:
                row.problem = "it has no tools"
            for step in row.server.calls:
                elapsed, problem = await self.call(name, step)
                row.call_ms += elapsed
                row.calls.append(step["tool"])
                row.problem = row.problem or problem
        except (RuntimeError, OSError) as error:
            row.problem = str(error)
        finally:
            row.used = time.perf_counter()

    async def count_tools(self, name):
        """Number of a server's tools. They are taken into the catalog shortly after the start."""
        deadline = time.perf_counter() + 10
        while True:
            tools = (await self.host.status(name)).get("tools", 0)
            if tools or time.perf_counter() > deadline:
                return tools
            await asyncio.sleep(0.05)

    async def call(self, name, step):
        """Calls a tool; returns milliseconds, and what is wrong with the answer."""
        arguments = fleet_files.fill(step["arguments"], self.files, self.page)
        failed, text, elapsed = await self.host.call(name, step["tool"], arguments)
        good = not failed and re.search(step["expect"], text)
        return elapsed, None if good else f"{step['tool']} answered: {text}"

    async def await_idle_end(self, group):
        names = [row.server.name for row in group]
        left = await self.watch.wait_until_gone(names, IDLE_LIMIT)
        for row in group:
            if row.server.name in left:
                row.problem = row.problem or "it was not closed although it was idle"
            row.gone_s = self.watch.gone(row.server.name, row.used)

    async def check_sick(self, row):
        """Tries to start a server that cannot, and reads what the user is told."""
        name = row.server.name
        try:
            failed, row.told, row.start_ms = await self.host.call(name, NO_SUCH_TOOL, {})
            row.state = (await self.host.status(name))["state"]
        except (RuntimeError, OSError) as error:
            row.problem = str(error)
            return
        if not failed:
            row.problem = "the call did not fail"
        elif row.state == "ready":
            row.problem = "it is shown as ready"
        elif name not in row.told:
            row.problem = f"the message does not name the server: {row.told}"
        elif not re.search(row.server.message, row.told):
            row.problem = f"the message does not tell the cause ({row.server.message}): {row.told}"
        elif row.start_ms > SICK_LIMIT * 1000:
            row.problem = f"the message came after {row.start_ms / 1000:.1f} s, not within {SICK_LIMIT} s"

    async def check_sick_beside_healthy(self):
        """Starts the sick servers while a healthy one is called again and again."""
        over = asyncio.Event()
        sibling = next((row for row in self.last_group if row.calls and not row.problem), None)
        calling = asyncio.create_task(self.call_until(over, sibling)) if sibling else None
        await each(self.check_sick, self.sick)
        over.set()
        if calling:
            await calling
        for row in self.last_group:
            row.state = (await self.host.status(row.server.name))["state"]
            if not row.problem and row.state != "ready":
                row.problem = f"it is {row.state} after sick servers were started beside it"

    async def call_until(self, over, row):
        slowest, calls = 0, 0
        while not over.is_set() and not row.problem:
            try:
                elapsed, row.problem = await self.call(row.server.name, row.server.calls[0])
                slowest, calls = max(slowest, elapsed), calls + 1
            except (RuntimeError, OSError) as error:
                row.problem = str(error)
            await asyncio.sleep(0.1)
        if slowest > SIBLING_LIMIT * 1000:
            row.problem = row.problem or f"it needed {slowest:.0f} ms for an answer beside sick servers"
        told = f"{row.server.name} answered {calls} calls, the slowest in {slowest:.0f} ms"
        fleet_servers.say(f"beside the sick servers, {told}")

    async def end(self):
        """Ends the session as a host does, and looks for what is left of it."""
        await self.watch.look()
        closed = time.perf_counter()
        self.end_s, code = await self.host.session.end(END_PATIENCE)
        if self.end_s is None:
            self.problems.append(
                f"the orchestrator did not end within {END_PATIENCE} s after its input was closed"
            )
        elif code != 0:
            self.problems.append(f"the orchestrator ended with exit code {code}")
        if garbage := self.host.session.garbage:
            self.problems.append(f"a line on stdout is no JSON: {garbage[0]!r}")
        # A guard that has just ended its tree needs a moment to end itself.
        left = await self.watch.wait_until_gone([*self.rows, ORCHESTRATOR], 1)
        self.watch.stop()
        for row in self.last_group:
            row.gone_s = self.watch.gone(row.server.name, closed)
        for row in self.rows.values():
            row.left = left.get(row.server.name, [])
            row.peak_rss_mb = self.watch.peak_mb.get(row.server.name, 0)
            if row.problem:
                self.problems.append(f"{row.server.name} failed")
        self.left = sum(len(processes) for processes in left.values())
        if self.left:
            self.problems.append(f"{self.left} processes were left, of {', '.join(left)}")
        for processes in left.values():
            signal_all(processes)


def isolated():
    """Whether nothing but the loopback interface is there."""
    return {name for _, name in socket.if_nameindex()} == {"lo"}


def healthy_cells(row):
    recorded = row.server.tools
    differs = row.tools is not None and recorded not in (None, row.tools)
    return [
        row.server.name,
        row.server.version,
        number(row.start_ms),
        number(row.tools) + (f" (recorded: {recorded})" if differs else ""),
        f"{', '.join(row.calls)} ({row.call_ms:.0f} ms)" if row.calls else "-",
        "FAILED" if row.problem else "yes" if row.calls else "started, listed",
        number(row.gone_s, 1),
        number(len(row.left)),
        number(row.peak_rss_mb),
    ]


def sick_cells(row):
    left = number(len(row.left))
    return [
        row.server.name,
        row.server.version,
        number(row.start_ms),
        row.state,
        left,
        shortened(row.told, 160),
    ]


def print_tables(fleet):
    if fleet.healthy:
        heading = ["server", "version", "start ms", "tools", "called", "answer ok", "gone after s", "left"]
        print_table([*heading, "peak RSS MB"], [healthy_cells(row) for row in fleet.healthy])
        print()
    if fleet.sick:
        heading = ["sick server", "version", "told after ms", "state", "left", "message"]
        print_table(heading, [sick_cells(row) for row in fleet.sick])
        print()
    for row in fleet.rows.values():
        if row.problem:
            symptom = f" ({row.server.symptom})" if row.server.sick else ""
            print(f"FAILED {row.server.name}{symptom}: {shortened(row.problem, 600)}")


def print_summary(fleet, seconds):
    good = [row for row in fleet.healthy if not row.problem]
    tools = sum(row.tools for row in good)
    called = [row for row in good if row.calls]
    told = [row for row in fleet.sick if not row.problem]
    memory = fleet.watch.peak_mb.get(ORCHESTRATOR, 0)
    parts = [
        f"{len(good)} of {len(fleet.healthy)} servers started and listed {tools} tools",
        f"{len(called)} of them answered {sum(len(row.calls) for row in called)} calls",
        f"{len(told)} of {len(fleet.sick)} sick servers told why",
        f"{fleet.left} processes left",
        f"orchestrator: initialize {fleet.host.ready_ms:.0f} ms, end {number(fleet.end_s, 1)} s, "
        f"{memory:.0f} MB",
        "loopback network only" if isolated() else "WITH network",
        f"{seconds:.0f} s in all",
    ]
    print(f"fleet: {'; '.join(parts)}")


def write_report(fleet):
    """The whole of what the tables shorten."""
    rows = []
    for row in fleet.rows.values():
        values = {key: value for key, value in vars(row).items() if key not in ("server", "used")}
        rows.append({"server": row.server.name, "package": row.server.package, **values})
    report = json.dumps({"servers": rows, "problems": fleet.problems}, indent=2, ensure_ascii=False)
    (fleet.folder / "report.json").write_text(report + "\n")


def to_drive(arguments):
    """The servers that the command line asks for, without those that cannot be driven here."""
    servers = fleet_servers.chosen(arguments)
    there = fleet_servers.installed(servers)
    missing = [server.name for server in servers if server not in there]
    if missing:
        print(f"fleet: left out, because not installed: {', '.join(missing)}")
    if not isolated():
        reaching = [server.name for server in there if server.sick_offline]
        if reaching:
            print(f"fleet: left out, because only sick without network: {', '.join(reaching)}")
        there = [server for server in there if not server.sick_offline]
    if not there:
        sys.exit("fleet: no server is installed; fleet.sh installs them")
    return there


async def main(program, arguments):
    began = time.perf_counter()
    fleet = Fleet(to_drive(arguments))
    try:
        await fleet.start(program)
    except (RuntimeError, OSError) as error:
        sys.exit(f"fleet: {error}; {fleet.folder / 'orchestrator.log'} may say why")
    await fleet.drive()
    print_tables(fleet)
    print_summary(fleet, time.perf_counter() - began)
    write_report(fleet)
    if fleet.problems:
        print(f"fleet: FAILED: {shortened('; '.join(fleet.problems), 1000)}; {fleet.folder} has more")
    return 1 if fleet.problems else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
