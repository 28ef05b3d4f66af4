"""The phases of soak.py that kill without a pause: SIGKILL of the orchestrator at random moments under
load, and starts and ends of children as fast as they go."""

import asyncio
import collections
import contextlib
import os
import random
import re
import signal
import time

from calls import Call, Payloads, make_call
from processes import below, descendants, describe, lives, marked, signal_all, wait_until
from sandbox import PATIENCE, Sandbox, at_rest, say

# Seconds from the spawn, for every fourth round, or from the first good answer until the SIGKILL.
KILL_IN_START, KILL_UNDER_LOAD = 0.15, 0.6
CALLERS = 12
# Within this all children have to be gone after the orchestrator was killed.
ORPHANS_GONE = 2.0

# The last of them leaves its process group, and the one before ends by SIGKILL only.
KILLED_WITH = ("fixture", "fixture", "none", "grandchild", "ignore-term", "setsid-grandchild")

WORKERS = 8
# A cycle has to bring a new child within this.
CYCLE_PATIENCE = 10
# For a child to be ended after its guard was killed.
GUARD_NOTICE = 1.0
RESTARTED = re.compile(r"\S+ was started afresh and lists \d+ tools\.")
# Without pauses and without a breaker: starts are what is tested here.
CYCLE_SETTINGS = {
    "timeouts": {"discover": 0.5, "handshake": 5, "call": 3, "idle": 2, "shutdown": 0.5},
    "restart": {"initialBackoff": 0.001, "maxBackoff": 0.01, "crashLimit": 1_000_000_000},
    "breaker": {"consecutive": 1_000_000_000, "minimumCalls": 1_000_000_000},
}


class Round:
    """One life of the orchestrator, from its start to the SIGKILL."""

    def __init__(self, sandbox, payloads, servers):
        self.sandbox, self.payloads, self.servers = sandbox, payloads, servers
        self.answered = []
        self.problems = []

    async def live(self, in_start):
        session = self.session = await self.sandbox.start()
        work = asyncio.create_task(self.work())
        if in_start:
            await asyncio.sleep(random.uniform(0, KILL_IN_START))
        else:
            await self.usable()
            await asyncio.sleep(random.uniform(0, KILL_UNDER_LOAD))
        self.killed = time.perf_counter()
        await session.kill()
        await work

    async def usable(self):
        answered = await wait_until(lambda: any(call.kind == "ok" for call in self.answered), PATIENCE, 0.002)
        if answered is None:
            self.problems.append(f"no call was answered well after a start within {PATIENCE} s")

    async def work(self):
        initialized, _ = await self.session.initialize()
        if initialized:
            await asyncio.gather(*(self.caller() for _ in range(CALLERS)))

    async def caller(self):
        while not self.session.ended.done():
            server = random.choice(list(self.servers))
            call = make_call(server, "echo", self.payloads.pick())
            await call.make(self.session)
            if call.kind != "lost":
                self.answered.append(call)

    async def gone(self):
        """Seconds until all its children were gone, and how many were there after ORPHANS_GONE."""
        mark = self.sandbox.mark
        await wait_until(lambda: not marked(mark), ORPHANS_GONE - (time.perf_counter() - self.killed), 0.01)
        seconds, late = time.perf_counter() - self.killed, marked(mark)
        told = describe(late)
        # Told, and out of the way of the next round.
        signal_all(late)
        return seconds, len(late), told


class Trail:
    """The audit trail and the catalog, looked at after each SIGKILL."""

    def __init__(self, sandbox, report):
        self.sandbox, self.report = sandbox, report
        self.last = self.rows = self.started = 0

    def look(self, at, answered):
        """Every answered call has its row, finished."""
        with contextlib.closing(self.sandbox.database("audit.db")) as trail:
            sound = trail.execute("PRAGMA integrity_check").fetchone()[0]
            self.report.check(sound == "ok", f"SIGKILL {at}: the audit trail is damaged: {sound}")
            if not trail.execute("SELECT count(*) FROM sqlite_master WHERE name = 'entries'").fetchone()[0]:
                rows = []
            else:
                query = "SELECT id, request, outcome FROM entries WHERE kind = 'call' AND id > ?"
                rows = trail.execute(query, [self.last]).fetchall()
        self.last = max([self.last, *(number for number, _, _ in rows)])
        outcomes = {request: outcome for _, request, outcome in rows}
        self.started += sum(outcome == "started" for outcome in outcomes.values())
        missing = [call for call in answered if outcomes.get(call.request, "started") == "started"]
        self.rows += len(answered) - len(missing)
        self.report.check(
            not missing,
            f"SIGKILL {at}: {len(missing)} of {len(answered)} answered calls have no finished row in the "
            f"audit trail, such as {missing[:1]}",
        )
        with contextlib.closing(self.sandbox.database("catalog.db")) as catalog:
            sound = catalog.execute("PRAGMA quick_check").fetchone()[0]
            self.report.check(sound == "ok", f"SIGKILL {at}: the catalog is damaged: {sound}")


async def kill_orchestrator(options, report):
    print(f"SIGKILL of the orchestrator: {options.kills} times", flush=True)
    servers = {}
    for at, vice in enumerate(KILLED_WITH):
        hostile = {"command": options.fixtures["hostile"], "args": ["--vice", vice]}
        friendly = {"command": options.fixtures["server"], "args": []}
        servers[f"{vice}-{at}"] = friendly if vice == "fixture" else hostile
    settings = {"timeouts": {"discover": 0.5, "handshake": 5, "shutdown": 0.5}}
    sandbox = Sandbox(options.orchestrator, servers, settings, report)
    payloads, trail = Payloads(), Trail(sandbox, report)
    answered, orphans, longest, kinds = 0, 0, 0.0, collections.Counter()
    for at in range(options.kills + 1):
        life = Round(sandbox, payloads, servers)
        # One more at the end, for what the last SIGKILL has left.
        in_start = at % 4 == 1 and at < options.kills
        await life.live(in_start)
        seconds, late, told = await life.gone()
        longest = max(longest, seconds)
        orphans += late
        report.check(not late, f"SIGKILL {at}: {late} processes alive {ORPHANS_GONE:g} s later: {told}")
        for problem in life.problems:
            report.check(False, f"SIGKILL {at}: {problem}")
        kinds.update(call.kind for call in life.answered)
        bad = [call for call in life.answered if call.kind != "ok"]
        report.check(not bad, f"SIGKILL {at}: {len(bad)} calls of healthy servers failed, such as {bad[:1]}")
        answered += len(life.answered)
        trail.look(at, life.answered)
    say(f"{answered} calls answered ({dict(kinds)}), {trail.rows} of them in the audit trail with their end")
    say(f"{trail.started} rows of calls that nobody lived to finish")
    say(f"alive {ORPHANS_GONE:g} s later: {orphans}; longest time until all were gone: {longest:.2f} s")
    aside = [name for name in os.listdir(sandbox.folder / "data") if "damaged" in name]
    report.check(not aside, f"databases were found damaged and kept aside: {', '.join(aside)}")
    sandbox.remove()


class Cycles:
    """Starts and ends of children, one after the other for each server, all servers at once."""

    def __init__(self, session, report, cycles):
        self.session, self.report = session, report
        self.payloads = Payloads()
        self.left = cycles
        # How children were ended, and how calls failed meanwhile.
        self.ends, self.failed = collections.Counter(), collections.Counter()
        self.said = {}
        self.outlived = 0

    async def worker(self, server):
        ways = {
            "SIGKILL of the child": self.kill_child,
            "SIGKILL of the guard": self.kill_guard,
            "SIGTERM of the child": self.terminate_child,
            "restart_server": self.restart,
        }
        guard = await self.start(server, None)
        while self.left > 0 and guard:
            self.left -= 1
            way = random.choice(list(ways))
            self.ends[way] += 1
            await ways[way](server, guard)
            guard = await self.start(server, guard)

    async def start(self, server, before):
        """Calls until a child other than the one before has answered. The new one's guard."""
        until = time.perf_counter() + CYCLE_PATIENCE
        while time.perf_counter() < until:
            call = await make_call(server, "echo", self.payloads.pick()).make(self.session)
            if call.kind != "ok":
                self.failed[call.kind] += 1
                self.said[call.kind] = call.text
                continue
            guard = (await self.session.servers(server)).get(server, {}).get("pid")
            if guard and guard != before and below(guard):
                return guard
        self.report.check(False, f"{server} did not get a new child within {CYCLE_PATIENCE} s")
        return None

    async def kill_child(self, _, guard):
        signal_all(below(guard))

    async def terminate_child(self, _, guard):
        signal_all(below(guard), signal.SIGTERM)

    async def kill_guard(self, _, guard):
        """The child has to go with its guard, which alone would end it in every case."""
        children = below(guard)
        signal_all([guard])
        if await wait_until(lambda: not any(map(lives, children)), GUARD_NOTICE) is None:
            self.outlived += 1
            signal_all(children)

    async def restart(self, server, _):
        call = Call("orchestrator", "restart_server", {"server": server}, RESTARTED)
        await call.make(self.session)
        self.report.check(call.kind == "ok", f"restart_server of {server} is {call.kind}: {call.text}")


async def cycle_children(options, report):
    print(f"starts and ends of children: {options.cycles} times, {WORKERS} servers at once", flush=True)
    starts = options.scratch / "starts"
    servers = {}
    for at in range(WORKERS):
        arguments = ["--starts", str(starts), *(["--grandchild"] if at % 4 == 0 else [])]
        servers[f"fixture-{at}"] = {"command": options.fixtures["server"], "args": arguments}
    sandbox = Sandbox(options.orchestrator, servers, CYCLE_SETTINGS, report)
    session, zombies = await sandbox.start_watched()
    cycles = Cycles(session, report, options.cycles)
    for server in servers:
        await cycles.start(server, None)
    before = await at_rest(session)

    began = time.perf_counter()
    await asyncio.gather(*(cycles.worker(server) for server in servers))
    seconds = time.perf_counter() - began
    after = await at_rest(session, before)
    sandbox.check_size(before, after)
    strays = set(marked(sandbox.mark)) - {session.pid, *descendants(session.pid)}
    report.check(not strays, f"{len(strays)} processes are no descendants any more: {describe(strays)}")
    _, left = await sandbox.end(session)
    report.check(not cycles.outlived, f"{cycles.outlived} children lived on after a SIGKILL of their guards")
    sandbox.stop(zombies)

    for kind, text in cycles.said.items():
        known = kind in ("outcome unknown", "not sent", "not started")
        report.check(known, f"{cycles.failed[kind]} calls are {kind}, such as: {text}")
    count = len(starts.read_text().splitlines())
    report.check(count >= options.cycles, f"{count} starts in {options.cycles} cycles")
    ends = ", ".join(f"{number} × {way}" for way, number in cycles.ends.items())
    say(f"{count} starts, {count / seconds:.1f}/s; ended by {ends}")
    say(f"calls that met the end of a child: {dict(cycles.failed)}; processes left: {left}")
    sandbox.remove()
