"""The measurements of soak.py: calls through the orchestrator, and the same calls to the same children
without it. Answers are taken in by callbacks, so that little of what is measured is the driver's own."""

import asyncio
import os
import pathlib
import shutil
import tempfile
import time

from figures import print_markdown, share
from session import Session, call_of, configure, text_of

# Name, children, calls at once for each of them, calls in all.
RUNS = (
    ("1 child, 1 caller", 1, 1, 10_000),
    ("1 child, 16 callers", 1, 16, 10_000),
    ("50 children, 8 callers each", 50, 8, 100_000),
)
# Before anything is measured: children start, and lists are taken in.
WARM_UP = 200
SETTINGS = {"totalLimits": {"concurrentCalls": 1024}}
# Seconds for a process to end.
END_PATIENCE = 30
HEADS = ("calls", "", "calls/s", "p50 ms", "p99 ms")


class Round:
    """Calls on all lanes, each the next when the last is answered, until `count` are. A lane is a session
    and the parameters of tools/call for a message."""

    def __init__(self, lanes, count):
        self.lanes, self.count = lanes, count
        self.sent = 0
        self.latencies = []
        self.over = asyncio.get_running_loop().create_future()

    async def run(self):
        """Latencies in ms, sorted, and the seconds that all took."""
        began = time.perf_counter()
        for lane in self.lanes[: self.count]:
            self.send(lane)
        await self.over
        return sorted(self.latencies), time.perf_counter() - began

    def send(self, lane):
        self.sent += 1
        text = f"nonce-{self.sent}-"
        session, params = lane
        sent = time.perf_counter()

        def on_answer(answer, now):
            self.latencies.append((now - sent) * 1000)
            if answer is None or text_of(answer) != (text, False):
                self.finish(f"a wrong answer: {str(answer)[:300]}")
            elif self.sent < self.count:
                self.send(lane)
            elif len(self.latencies) == self.count:
                self.finish()

        session.ask("tools/call", params(text), on_answer)

    def finish(self, problem=None):
        if self.over.done():
            return
        if problem:
            self.over.set_exception(RuntimeError(problem))
        else:
            self.over.set_result(None)


async def measure(sessions, lanes, count):
    """Calls/s, and two latencies; ends the sessions."""
    for session in sessions:
        await session.initialize()
    await Round(lanes, max(WARM_UP, 2 * len(lanes))).run()
    latencies, seconds = await Round(lanes, count).run()
    for session in sessions:
        await session.end(END_PATIENCE)
    return len(latencies) / seconds, share(latencies, 0.5), share(latencies, 0.99)


async def through(options, folder, children, callers, count):
    servers = {f"child-{at}": {"command": options.fixtures["server"], "args": []} for at in range(children)}
    folder = folder / f"{children}-{callers}"
    folder.mkdir()
    environment = {**os.environ, **configure(folder, servers, SETTINGS)}
    session = await Session.start([options.orchestrator, "serve"], environment)

    def lane(server):
        return session, lambda text: call_of(server, "echo", {"message": text})

    lanes = [lane(server) for server in servers for _ in range(callers)]
    return await measure([session], lanes, count)


async def direct(options, children, callers, count):
    sessions = [await Session.start([options.fixtures["server"]], {**os.environ}) for _ in range(children)]
    lanes = [
        (session, lambda text: {"name": "echo", "arguments": {"message": text}})
        for session in sessions
        for _ in range(callers)
    ]
    return await measure(sessions, lanes, count)


async def run(options):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-bench-"))
    rows = []
    for name, children, callers, count in RUNS:
        plain = await direct(options, children, callers, count)
        ours = await through(options, folder, children, callers, count)
        for whose, (rate, middle, late) in (("direct", plain), ("through the orchestrator", ours)):
            rows.append([f"{name}, {count}", whose, f"{rate:.0f}", f"{middle:.2f}", f"{late:.2f}"])
    print_markdown(HEADS, rows, HEADS[2:])
    shutil.rmtree(folder, ignore_errors=True)
