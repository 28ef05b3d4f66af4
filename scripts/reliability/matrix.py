#!/usr/bin/env python3
"""Runs every vice of the hostile fixture child against a proxy, next to two healthy children. fault_matrix.sh
builds what this needs and runs it.

Each cell is one vice in one phase with a proxy process of its own. Meanwhile both healthy children are
called every 20 ms each and every answer is checked. A cell tells how the sick call was answered and when,
what `list_servers` shows afterwards, how soon a call succeeded again, what the healthy calls noticed, the
memory of the proxy and the processes left behind. Cells without a vice run in between as the baseline for
the latencies. The expectations stand in cells.py; with --check any cell that misses its own ends the
program with 1.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time
import uuid

import matrix_report
from calls import checksum
from cells import BASELINE, CELLS, CLASSES
from processes import MARK, marked, memory, signal_all, wait_until
from programs import add_programs, check_programs
from session import Session, call_of, configure, text_of

SICK = "sick"

# Short, so that every deadline is reached; all in seconds.
SETTINGS = {
    "timeouts": {
        "discover": 0.5,
        "install": 3,
        "handshake": 1.5,
        "list": 1.5,
        "call": 1.0,
        "callTotal": 3,
        "idle": 300,
        "shutdown": 0.5,
        "ping": 0.5,
    },
    "restart": {"initialBackoff": 0.05, "maxBackoff": 1, "crashLimit": 5, "stableAfter": 300},
    "breaker": {"window": 30, "minimumCalls": 10, "failureShare": 0.5, "consecutive": 5, "openFor": 1},
    "limits": {
        "lineBytes": 8388608,
        "requestBytes": 8388608,
        "pages": 100,
        "tools": 10000,
        "listBytes": 33554432,
        "concurrentCalls": 64,
        "queuedCalls": 64,
    },
}

# A call every so often to each healthy child, at most so many of them at once, and for so long after
# the fault at least.
PERIOD = 0.02
AT_ONCE = 8
WINDOW = 0.8
# What the driver waits for an answer, for recovery, for the end of the proxy, and for its processes then.
PATIENCE = 5.0
RECOVERY_PATIENCE = 6.0
END_PATIENCE = 5.0
GONE_PATIENCE = 1.5
BASELINE_EVERY = 10

# Mounted one by one, a child that does not start costs the others less than in one configuration.
FASTMCP = """
import json, sys
from fastmcp import FastMCP
from fastmcp.server import create_proxy

proxy = FastMCP("proxy")
for name, server in json.load(open(sys.argv[1]))["mcpServers"].items():
    proxy.mount(create_proxy({"mcpServers": {name: server}}), namespace=name)
proxy.run(transport="stdio", show_banner=False)
"""


class Orchestrator:
    """`orchestrator serve`, by its tools call_tool and list_servers."""

    name = "orchestrator"
    call = staticmethod(call_of)

    def __init__(self, program):
        self.program = program

    async def start(self, servers, folder, mark, errors):
        environment = {**os.environ, MARK: mark, **configure(folder, servers, SETTINGS)}
        return await Session.start([self.program, "serve"], environment, errors, PATIENCE)

    @staticmethod
    async def state(session):
        return (await session.servers()).get(SICK, {"state": "unknown"})


class FastMcp:
    """FastMCP's proxy over the same configuration, on stdio."""

    name = "fastmcp"

    def __init__(self, python):
        self.python = python

    async def start(self, servers, folder, mark, errors):
        config, script = folder / "config.json", folder / "proxy.py"
        config.write_text(json.dumps({"mcpServers": servers}))
        script.write_text(FASTMCP)
        limit = str(SETTINGS["timeouts"]["handshake"])
        environment = {**os.environ, MARK: mark, "FASTMCP_CLIENT_INIT_TIMEOUT": limit}
        return await Session.start([self.python, str(script), str(config)], environment, errors, PATIENCE)

    @staticmethod
    def call(server, tool, arguments):
        return {"name": f"{server}_{tool}", "arguments": arguments}

    @staticmethod
    async def state(_):
        """It has no tool that tells."""
        return {"state": "-"}


def checked_call(child):
    """Tool, arguments and the right answer of a call that no other call has the answer of."""
    nonce, payload = uuid.uuid4().hex, "".join(random.choices("abcdefghij é", k=40))
    if child == "fixture":
        return "echo", {"message": nonce + payload}, nonce + payload
    return "checksum", {"nonce": nonce, "payload": payload}, f"{nonce}:{checksum(payload)}"


def sick_call(tool, payload):
    """As above, of the sick child; the answer is a pattern."""
    if tool == "misbehave":
        return tool, {"message": "please"}, "behaved|the second answer|both"
    if tool == "asks":
        return "misbehave", {"message": "please"}, r"told \{.*"
    if tool == "sleep":
        token = uuid.uuid4().hex
        return tool, {"ms": 200, "token": token}, token
    nonce, letters = uuid.uuid4().hex, "p" * payload
    return tool, {"nonce": nonce, "payload": letters}, f"{nonce}:{checksum(letters)}"


def classify(answer, right):
    """Class and text of a sick child's answer."""
    if answer is None:
        return "none", ""
    text, is_error = text_of(answer)
    if not is_error:
        return ("ok" if re.fullmatch(right, text, re.DOTALL) else "wrong"), text
    if SICK not in text or text.lower().startswith("unknown tool"):
        return "vague", text
    return ("timeout" if re.search(r"did not answer|timed out|within [\d.]+ s", text) else "error"), text


class Load:
    """Calls one healthy child every PERIOD, whether or not the answers before have come."""

    def __init__(self, target, session, child):
        self.target, self.session, self.child = target, session, child
        self.latencies, self.failures = [], []
        self.free = asyncio.Semaphore(AT_ONCE)
        self.open = 0
        self.task = asyncio.create_task(self.run())

    async def run(self):
        due = time.perf_counter()
        while True:
            await self.free.acquire()
            self.one()
            due = max(due + PERIOD, time.perf_counter() - PERIOD)
            await asyncio.sleep(max(0, due - time.perf_counter()))

    def one(self):
        tool, arguments, right = checked_call(self.child)
        self.open += 1
        began = time.perf_counter()

        def on_answer(answer, now):
            text, is_error = text_of(answer) if answer else ("no answer before the end", True)
            if is_error or text != right:
                self.failures.append(text[:200])
            else:
                self.latencies.append((now - began) * 1000)
            self.open -= 1
            self.free.release()

        self.session.ask("tools/call", self.target.call(self.child, tool, arguments), on_answer)

    async def stop(self):
        """Waits for the last answers; those that never come are failures."""
        self.task.cancel()
        await wait_until(lambda: not self.open, 2, 0.005)
        self.failures += ["no answer"] * self.open


class Drive:
    """One cell, from the first request to its proxy on. Fills `found`."""

    def __init__(self, cell, target, session, state, found):
        self.cell, self.target, self.session, self.found = cell, target, session, found
        # The file in which the sick child tells what it did.
        self.state = state

    def note(self, text):
        self.found["notes"].append(text)

    def told(self, what):
        """What the sick child has told of this kind, the words of each line."""
        try:
            lines = [line.split() for line in self.state.read_text().splitlines()]
        except OSError:
            return []
        return [words for words in lines if words and words[0] == what]

    def vice_at(self):
        """When the vice showed last, in Unix seconds."""
        shown = self.told("vice")
        return int(shown[-1][1]) / 1000 if shown else None

    async def call_sick(self, tool, payload=10):
        """Class, text and seconds of one call to the sick child."""
        tool, arguments, right = sick_call(tool, payload)
        answer, seconds = await self.session.request("tools/call", self.target.call(SICK, tool, arguments))
        return *classify(answer, right), seconds

    async def run(self):
        initialized = await self.begin()
        loads = [Load(self.target, self.session, child) for child in ("fixture", "healthy")]
        await asyncio.sleep(0.2)
        self.found["memory_before"] = memory(self.session.pid, "VmRSS")
        await self.make_faulty()
        began = time.time()
        kind = await self.call_with_fault()
        await self.recover(kind, began, initialized)
        await asyncio.sleep(self.cell.pause)
        await self.look()
        await asyncio.sleep(max(0, began + WINDOW - time.time()))
        for load in loads:
            await load.stop()
        failures = [failure for load in loads for failure in load.failures]
        latencies = sorted(latency for load in loads for latency in load.latencies)
        self.found |= {
            "latencies": latencies,
            "healthy_done": len(latencies),
            "healthy_failed": len(failures),
            "failure": failures[0] if failures else "",
            "memory_after": memory(self.session.pid, "VmRSS"),
            "memory_peak": memory(self.session.pid, "VmHWM"),
        }

    async def begin(self):
        """Initializes, and calls each healthy child once. Whether the first was answered."""
        initialized, seconds = await self.session.initialize()
        self.found["initialize_ms"] = seconds * 1000
        if not initialized:
            self.note("initialize unanswered")
        for child in ("fixture", "healthy"):
            tool, arguments, _ = checked_call(child)
            # Who did not answer the first request will hardly answer the next.
            patience = PATIENCE if initialized else 0.5
            params = self.target.call(child, tool, arguments)
            if (await self.session.request("tools/call", params, patience))[0] is None:
                self.note(f"no first answer of {child}")
        return initialized

    async def make_faulty(self):
        """Brings the sick child to where the fault comes with the next call, or has come by itself."""
        if self.cell.phase in ("call", "idle"):
            kind, _, _ = await self.call_sick("checksum")
            if kind != "ok":
                self.note(f"not usable before the fault: {kind}")
        if self.cell.phase == "idle" and await wait_until(lambda: self.vice_at() is not None, 3, 0.002) is None:
            self.note("the fault never came")
        if self.cell.vice == "deaf":
            await self.call_sick("misbehave")

    async def call_with_fault(self):
        """The sick calls, and one beside them. The class of the last, if it was a good call afterwards."""
        cell, found = self.cell, self.found
        neighbour = None
        if cell.phase == "call" and cell.calls == 1 and cell.vice not in ("deaf", "dies-second-call"):
            neighbour = asyncio.create_task(self.call_sick("sleep"))
            await asyncio.sleep(0.05)
        tool = (cell.tool or "misbehave") if cell.phase == "call" else "checksum"
        answers = [await self.call_sick(tool, cell.payload) for _ in range(cell.calls)]
        found["beside"], found["beside_text"], _ = await neighbour if neighbour else (None, "", 0)
        found["answers"] = [kind for kind, _, _ in answers]
        found["texts"] = [text[:400] for _, text, _ in answers]
        found["answer"], found["text"], _ = max(answers, key=lambda answer: CLASSES.index(answer[0]))
        found["text"] = found["text"][:400]
        found["answer_s"] = max(seconds for _, _, seconds in answers)
        return "ok" if tool == "checksum" and found["answer"] == "ok" else None

    async def recover(self, kind, began, initialized):
        """Calls until a call succeeds, where that may be hoped for."""
        self.found["recovery_s"] = None
        if self.cell.recovery is None or not initialized:
            return
        until = time.time() + RECOVERY_PATIENCE
        while kind != "ok" and time.time() < until:
            kind, self.found["last_text"], _ = await self.call_sick("checksum")
            if kind != "ok":
                await asyncio.sleep(0.02)
        if kind == "ok":
            self.found["recovery_s"] = max(0.0, time.time() - (self.vice_at() or began))

    async def look(self):
        """What the proxy and the sick child itself tell of it."""
        server = await self.target.state(self.session)
        self.found |= {
            "runs": len(self.told("misbehave")),
            "cancelled": len(self.told("cancelled")),
            "state": server.get("state"),
            "breaker": server.get("breaker"),
            "reason": str(server.get("reason") or "")[:300],
        }


async def run(cell, target, fixtures, logs):
    """One cell from the start of its proxy to the end of all its processes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fault-matrix-"))
    mark = uuid.uuid4().hex
    state = folder / "state"
    vice = ["--vice", cell.vice, "--when", cell.phase, "--state", str(state), *cell.arguments]
    servers = {
        "fixture": {"command": fixtures["server"], "args": [], "env": {MARK: mark}},
        "healthy": {"command": fixtures["hostile"], "args": [], "env": {MARK: mark}},
        SICK: {"command": fixtures["hostile"], "args": vice, "env": {MARK: mark}},
    }
    log = logs / (re.sub(r"\W+", "-", cell.name) + f".{target.name}.log") if logs else os.devnull
    found = {"cell": cell.name, "may_recover": cell.recovery is not None, "notes": []}
    with open(log, "wb") as errors:
        session = await target.start(servers, folder, mark, errors)
        try:
            await Drive(cell, target, session, state, found).run()
        finally:
            found["end_s"], _ = await session.end(END_PATIENCE)
    await wait_until(lambda: not marked(mark), GONE_PATIENCE)
    left = marked(mark)
    found["leftovers"] = len(left)
    signal_all(left)
    found["stray_lines"] = len(session.garbage)
    shutil.rmtree(folder, ignore_errors=True)
    found["missed"] = cell.missed(found)
    return found


async def measure(target, cells, options, on_cell):
    """The report of one target."""
    began = time.perf_counter()
    quiet, faulty = [], []
    for at, cell in enumerate(cells):
        # In between, so that both are measured on the same state of the machine.
        if at % BASELINE_EVERY == 0:
            quiet.append(await run(BASELINE, target, options.fixtures, options.logs))
        faulty.append(await run(cell, target, options.fixtures, options.logs))
        on_cell(faulty[-1])
    return matrix_report.report_of(target.name, time.perf_counter() - began, quiet, faulty)


def pattern(text):
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def arguments():
    what = __doc__.split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="matrix.py", description=what, allow_abbrev=False)
    add_programs(parser)
    parser.add_argument("--fastmcp", metavar="PYTHON", help="compare with the FastMCP of this Python")
    parser.add_argument(
        "--only", type=pattern, default="", metavar="REGEX", help="cells by their names, such as 'crash call'"
    )
    parser.add_argument("--check", action="store_true", help="end with 1 if a cell misses its expectation")
    parser.add_argument("--markdown", action="store_true", help="print a table of markdown")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the report there")
    parser.add_argument("--logs", type=pathlib.Path, metavar="FOLDER", help="keep the stderr of proxies there")
    options = parser.parse_args()
    options.cells = [cell for cell in CELLS if re.search(options.only, cell.name)]
    if not options.cells:
        parser.error(f"no cell is named like {options.only.pattern!r}")
    if options.fastmcp and not shutil.which(options.fastmcp):
        parser.error(f"{options.fastmcp} is not there or cannot be run")
    check_programs(parser, options)
    return options


async def main(options):
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
    targets = [Orchestrator(options.orchestrator)]
    if options.fastmcp:
        targets.append(FastMcp(os.path.abspath(options.fastmcp)))
    # A table of markdown comes at the end; until then, stderr tells how far it is.
    in_table = options.markdown or options.fastmcp
    out = sys.stderr if in_table else sys.stdout
    reports = []
    for target in targets:
        reports.append(
            await measure(target, options.cells, options, lambda found: matrix_report.print_cell(found, out))
        )
        if options.json:
            # FastMCP's beside it.
            stem = options.json.stem + ("" if len(reports) == 1 else f"-{target.name}")
            options.json.with_stem(stem).write_text(json.dumps(reports[-1], indent=1) + "\n")
    if options.fastmcp:
        matrix_report.compare(reports)
    else:
        if in_table:
            matrix_report.print_cells(reports[0])
        matrix_report.summarize(reports[0])
    return matrix_report.tell_missed(reports[0]) if options.check else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
