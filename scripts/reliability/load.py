"""The first phase of soak.py: 20 children, a third of them sick, 50 callers on one session, and random
SIGKILLs. Every call is accounted for, and afterwards the orchestrator holds no more than before."""

import asyncio
import collections
import contextlib
import os
import random
import signal
import time

from calls import Payloads, make_call
from figures import in_words, share
from processes import Size, below
from sandbox import PATIENCE, Sandbox, at_rest, say

HEALTHY, SICK, CALLERS = 13, 7, 50
# Callers of sick servers: those wait for deadlines, and would leave the healthy ones without load.
CALLERS_OF_SICK = 15
# Seconds between two calls of one caller, on average: a steady load that leaves the machine some air.
PAUSE = 0.05
KILL_EVERY = (0.5, 2.5)
# Share of guards among those killed; the rest are the children below them.
GUARDS = 0.25
# Shares of calls that are cancelled, and that ask for progress.
CANCELLED, WITH_PROGRESS = 0.02, 0.1
# A call sent so long after a kill may still leave for the dead child: nobody could know.
KILL_NOTICE = 0.25
HEALTHY_SHARE = 0.999

SETTINGS = {
    "timeouts": {
        "discover": 0.5,
        "handshake": 2,
        "list": 2,
        "call": 1.5,
        "callTotal": 4,
        "idle": 2,
        "shutdown": 0.5,
        "ping": 1,
        "pingEvery": 2,
    },
    "restart": {"initialBackoff": 0.05, "maxBackoff": 1, "crashLimit": 1_000_000},
    "breaker": {"window": 10, "openFor": 0.5},
    # Short lines: the allocator keeps what the longest ones took, and a leak would hide in that.
    "limits": {"concurrentCalls": 32, "queuedCalls": 32, "lineBytes": 1024 * 1024},
}

# A sick child has one of these, drawn anew at each of its starts.
VICES = (
    "dies-second-call",
    "flapping",
    "flapping-crash",
    "crash --when call",
    "crash --when idle",
    "half-line-exit --when call",
    "hang --when call",
    "hang --when idle",
    "freeze --when call",
    "late-initialize --delay-ms 1000",
    "late-initialize --delay-ms 10000",
    "exit-1",
    "then-exit",
    "junk",
    "junk --when call",
    "unsolicited",
    "unsolicited --when call",
    "wrong-id --when call",
    "string-id --when call",
    "duplicate-id --when call",
    "null-result --when call",
    "invalid-utf8 --when call",
    "error-shapes --when call",
    "big-line --when call",
    "progress-flood --when call",
    "progress-forever --when call",
    "stderr-flood",
    "stderr-flood --when call",
    "memory-hog --bytes 200000000",
    "list-changed-storm",
    "list-changed-storm --when call",
    "changing-tools",
    "grandchild",
    "setsid-grandchild --when call",
    "ignore-term",
    "asks-roots --when call",
    "deaf --when call",
    "discover-exit",
    "dual",
)
ONE_OF = 'exec "$0" --vice $(shuf -n 1 -e -- "$@")'

TOOLS = {
    "fixture": ("echo", "sleep", "echo"),
    "steady": ("checksum", "sleep", "echo", "read_counted", "write"),
    "sick": ("checksum", "misbehave", "misbehave", "write", "sleep"),
}


def kind_of(server):
    return server.split("-")[0]


class Load:
    """The calls and kills of one session."""

    def __init__(self, session, servers):
        self.session, self.servers = session, servers
        self.sick = [server for server in servers if kind_of(server) == "sick"]
        self.healthy = [server for server in servers if kind_of(server) != "sick"]
        self.payloads = Payloads()
        self.calls = []
        # Calls before the load and after it.
        self.beside = []
        # Which kind of process was killed; and when, by server.
        self.victims = collections.Counter()
        self.kills = collections.defaultdict(list)
        self.stopped = asyncio.Event()

    async def caller(self, servers):
        while not self.stopped.is_set():
            server = random.choice(servers)
            call = make_call(server, random.choice(TOOLS[kind_of(server)]), self.payloads.pick())
            self.calls.append(call)
            cancel_after = random.uniform(0, 0.2) if random.random() < CANCELLED else None
            await call.make(self.session, random.random() < WITH_PROGRESS, cancel_after)
            await asyncio.sleep(random.expovariate(1 / PAUSE))

    async def killer(self):
        while not self.stopped.is_set():
            await asyncio.sleep(random.uniform(*KILL_EVERY))
            # Half of them on sick ones: with each start they show another vice.
            server = random.choice(random.choice((self.sick, self.healthy)))
            guard = (await self.session.servers(server)).get(server, {}).get("pid")
            if guard is None:
                continue
            victims = [guard] if random.random() < GUARDS else below(guard)[:1]
            for pid in victims:
                self.kills[server].append(time.perf_counter())
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.victims["guard" if pid == guard else "child"] += 1

    async def run(self, seconds):
        callers = [self.caller(self.sick if at < CALLERS_OF_SICK else self.healthy) for at in range(CALLERS)]
        tasks = [asyncio.create_task(work) for work in [*callers, self.killer()]]
        await asyncio.sleep(seconds)
        self.stopped.set()
        await asyncio.wait(tasks, timeout=2 * PATIENCE)
        for task in tasks:
            task.cancel()

    def was_killed(self, call):
        """Whether the call was in flight on a child that was killed."""
        return any(call.sent - KILL_NOTICE < at < call.done for at in self.kills[call.server])


def servers_of(fixtures, state):
    servers = {}
    for at in range(HEALTHY):
        kind, program = ("fixture", fixtures["server"]) if at % 2 else ("steady", fixtures["hostile"])
        servers[f"{kind}-{at}"] = {"command": program, "args": []}
    for at in range(SICK):
        vices = [f"{vice} --state {state}/sick-{at}" for vice in VICES]
        servers[f"sick-{at}"] = {"command": "sh", "args": ["-c", ONE_OF, fixtures["hostile"], *vices]}
    return servers


async def first_calls(load, report=None):
    """One call of each healthy server, and one try with each sick one."""
    calls = [make_call(server, TOOLS[kind_of(server)][0], load.payloads.pick()) for server in load.servers]
    load.beside += calls
    await asyncio.gather(*(call.make(load.session) for call in calls))
    for call in calls:
        if report and kind_of(call.server) != "sick":
            report.check(call.kind == "ok", f"{call.server} does not work at the end: {call.text}")


async def watch_size(pid, peak):
    while True:
        peak.grow_to(Size.of(pid))
        await asyncio.sleep(1)


async def run(options, report):
    print(f"soak: {HEALTHY + SICK} children, {CALLERS} callers, {options.seconds} s", flush=True)
    state = options.scratch / "state"
    state.mkdir()
    servers = servers_of(options.fixtures, state)
    sandbox = Sandbox(options.orchestrator, servers, SETTINGS, report)
    session, zombies = await sandbox.start_watched()
    load = Load(session, list(servers))
    await first_calls(load)
    before, peak = await at_rest(session), Size()

    began = time.perf_counter()
    sizes = asyncio.create_task(watch_size(session.pid, peak))
    await load.run(options.seconds)
    seconds = time.perf_counter() - began
    sizes.cancel()
    after = await at_rest(session, before)
    say(f"at most: {peak}")
    sandbox.check_size(before, after)

    await first_calls(load, report)
    await end(session, sandbox, load)
    sandbox.stop(zombies)
    account(report, load, seconds)
    check_trail(report, sandbox, len(load.calls + load.beside))
    stray = session.garbage + session.unasked
    report.check(not stray, f"{len(stray)} lines on stdout that nobody asked for, such as {stray[:1]}")
    sandbox.remove()


async def end(session, sandbox, load):
    """The end comes while children run and calls are under way; those need no answer any more."""
    lasting = [make_call(server, "sleep", load.payloads.pick()) for server in load.healthy]
    load.beside += lasting
    calling = [asyncio.create_task(call.make(session)) for call in lasting]
    await asyncio.sleep(0.05)
    took, left = await sandbox.end(session)
    await asyncio.gather(*calling)
    if took is not None:
        say(f"the end took {took:.2f} s with {len(lasting)} calls under way; {left} processes left")


def account(report, load, seconds):
    """Every call is answered well, failed clearly or cancelled, and healthy servers answer theirs."""
    groups = collections.defaultdict(collections.Counter)
    for call in load.calls:
        whose = "sick" if kind_of(call.server) == "sick" else "healthy"
        ended = "cancelled" if call.cancelled and call.kind in ("ok", "lost") else call.kind
        groups[whose][ended] += 1
    for whose, kinds in groups.items():
        say(f"calls of {whose} servers: {kinds.total()} sent = {in_words(kinds)}")
    for kind in ("crossed", "wrong", "unclear", "lost"):
        found = [call for call in load.calls if call.kind == kind and not (kind == "lost" and call.cancelled)]
        example = f", such as {found[0].server}:{found[0].tool}: {found[0].text}" if found else ""
        report.check(not found, f"{len(found)} calls are {kind}{example}")

    healthy = [call for call in load.calls if kind_of(call.server) != "sick" and not call.cancelled]
    on_killed, others = [], []
    for call in healthy:
        (on_killed if load.was_killed(call) else others).append(call)
    failed = [call for call in others if call.kind != "ok"]
    part = 1 - len(failed) / max(1, len(others))
    kinds = in_words(collections.Counter(call.kind for call in failed))
    example = f"; such as {failed[0].server}:{failed[0].tool}: {failed[0].text}" if failed else ""
    report.check(
        part >= HEALTHY_SHARE,
        f"{len(failed)} of {len(others)} calls of healthy servers on no killed child failed{example}",
    )
    say(
        f"calls of healthy servers on no killed child: {len(others) - len(failed)} of {len(others)} answered "
        f"well ({part:.4%}{'; ' if kinds else ''}{kinds}); on a killed one: "
        f"{sum(call.kind == 'ok' for call in on_killed)} of {len(on_killed)}"
    )
    say(f"killed by SIGKILL: {in_words(load.victims)}")
    quick = sorted(call.seconds * 1000 for call in healthy if call.kind == "ok" and call.tool != "sleep")
    say(
        f"{len(load.calls) / seconds:.0f} calls/s; healthy calls p50 {share(quick, 0.5):.1f} ms, "
        f"p99 {share(quick, 0.99):.1f} ms, max {share(quick, 1):.0f} ms"
    )


def check_trail(report, sandbox, sent):
    with contextlib.closing(sandbox.database("audit.db")) as trail:
        sound = trail.execute("PRAGMA integrity_check").fetchone()[0]
        kinds = dict(trail.execute("SELECT outcome, count(*) FROM entries WHERE kind = 'call' GROUP BY 1"))
    rows = sum(kinds.values())
    report.check(sound == "ok", f"the audit trail is damaged: {sound}")
    report.check(rows == sent, f"{rows} rows in the audit trail for {sent} calls")
    started = kinds.get("started", 0)
    report.check(not started, f"{started} rows in the audit trail were never finished")
    say(f"audit trail: {sound}, {rows} rows for {sent} calls, {kinds}")
