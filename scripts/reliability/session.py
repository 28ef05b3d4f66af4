"""A session with a process that speaks JSON-RPC by line, as a host without an SDK would have it: what all
drivers here see `orchestrator serve` (and, in comparisons, other servers) through.

Everything is driven by one asyncio loop on the raw pipes. Thousands of calls overlap in it, none of them
waits for a thread, and an answer's time is taken where its bytes come in: with threads, that would be when
the interpreter's lock is free. Only what cannot be awaited has threads: looks at all of /proc, the wait for
the end of a process, and (in fleet.py) an http.server.

Knows nothing of any driver, nor of what children answer.
"""

import asyncio
import json
import pathlib
import subprocess
import time

# The repository.
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROTOCOL = "2025-11-25"
# Seconds for what a process has written last to come in after its end.
REST = 5


class Session(asyncio.Protocol):
    """One process. Requests overlap; each answer goes to who asked."""

    def __init__(self, process, patience):
        self.process = process
        # Seconds after which a request is taken for unanswered.
        self.patience = patience
        self.began = time.perf_counter()
        self.last = 0
        # By id, who is told of the answer. Unanswered ones stay: a late answer was still asked for.
        self.waiting = {}
        # Of the last line, whose end has not come in yet.
        self.pieces = []
        # Lines that are no JSON-RPC, and those that nobody asked for.
        self.garbage, self.unasked = [], []
        # Ids of calls that want progress.
        self.tokens = set()
        # Done at the end of the output.
        self.ended = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, command, environment, errors=subprocess.DEVNULL, patience=30):
        """Starts the command, with its stderr in the file `errors`."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            cwd=ROOT,
            bufsize=0,
        )
        # Not asyncio's own subprocess: before Python 3.12 that has a socket for stdin.
        session = cls(process, patience)
        loop = asyncio.get_running_loop()
        session.output, _ = await loop.connect_read_pipe(lambda: session, process.stdout)
        session.input, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
        return session

    @property
    def pid(self):
        return self.process.pid

    def data_received(self, data):
        now = time.perf_counter()
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*self.pieces, lines[0]])
            self.pieces = []
        if rest:
            self.pieces.append(rest)
        for line in lines:
            self.take(line, now)

    def take(self, line, now):
        try:
            message = json.loads(line)
            method, number = message.get("method"), message.get("id")
        except (ValueError, AttributeError):
            self.garbage.append(line[:200])
            return
        on_answer = self.waiting.pop(number, None) if method is None else None
        if on_answer:
            on_answer(message, now)
        elif method != "notifications/message" and not self.is_progress(message):
            self.unasked.append(line[:200])

    def is_progress(self, message):
        """Of a call that wants it."""
        told = message.get("method") == "notifications/progress" and message.get("params") or {}
        return told.get("progressToken") in self.tokens

    def connection_lost(self, _):
        """At the end of the output nothing will be answered any more."""
        if self.pieces:
            self.garbage.append(b"".join(self.pieces)[:200])
        now = time.perf_counter()
        waiting, self.waiting = self.waiting, {}
        self.ended.set_result(None)
        for on_answer in waiting.values():
            on_answer(None, now)

    def write(self, message):
        if not self.input.is_closing():
            self.input.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def notify(self, method, params=None):
        self.write({"method": method, "params": params or {}})

    def ask(self, method, params, on_answer, wants_progress=False):
        """Sends a request. `on_answer` gets the answer, or None at the end of the process, and the time;
        it is not called when the answer never comes. Returns the request's id."""
        self.last += 1
        if wants_progress:
            self.tokens.add(self.last)
            params = {**params, "_meta": {"progressToken": self.last}}
        if self.ended.done():
            on_answer(None, time.perf_counter())
        else:
            self.waiting[self.last] = on_answer
            self.write({"id": self.last, "method": method, "params": params})
        return self.last

    def send(self, method, params, wants_progress=False):
        """Sends a request. Returns its id, and a future of the answer with its time."""
        answer = asyncio.get_running_loop().create_future()

        def on_answer(message, now):
            if not answer.done():
                answer.set_result((message, now))

        return self.ask(method, params, on_answer, wants_progress), answer

    async def request(self, method, params, patience=None):
        """The answer, or None if none came, and the seconds until then."""
        began = time.perf_counter()
        _, answer = self.send(method, params)
        done, _ = await asyncio.wait([answer], timeout=self.patience if patience is None else patience)
        message, now = answer.result() if done else (None, time.perf_counter())
        return message, now - began

    async def initialize(self):
        """Whether it was answered well, and the seconds until then."""
        client = {"name": "reliability", "version": "1"}
        hello = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
        answer, seconds = await self.request("initialize", hello)
        self.notify("notifications/initialized")
        return bool(answer and "result" in answer), seconds

    async def call_tool(self, server, tool, arguments):
        """The answer of a child's tool, or None, and the seconds until then."""
        return await self.request("tools/call", call_of(server, tool, arguments))

    async def servers(self, server=None):
        """What list_servers says, by name; nothing if it was not answered."""
        arguments = {"server": server} if server else {}
        answer, _ = await self.request("tools/call", {"name": "list_servers", "arguments": arguments})
        content = ((answer or {}).get("result") or {}).get("structuredContent") or {}
        return {status["server"]: status for status in content.get("servers", [])}

    async def wait(self):
        """The exit code."""
        return await asyncio.to_thread(self.process.wait)

    async def kill(self):
        self.process.kill()
        await self.wait()
        await self.close()

    async def end(self, patience):
        """Closes its input, as a host does at its end. Seconds until the end, or None if it had to be
        killed, and the exit code."""
        began = time.perf_counter()
        self.input.close()
        waiting = asyncio.create_task(self.wait())
        done, _ = await asyncio.wait([waiting], timeout=patience)
        seconds = time.perf_counter() - began if done else None
        if not done:
            self.process.kill()
        code = await waiting
        await self.close()
        return seconds, code

    async def close(self):
        # A process that was left may hold the output open.
        await asyncio.wait([self.ended], timeout=REST)
        self.input.close()
        self.output.close()


def call_of(server, tool, arguments):
    """The parameters of tools/call for a child's tool."""
    return {"name": "call_tool", "arguments": {"tool": f"{server}:{tool}", "arguments": arguments}}


def text_of(answer):
    """Text of the answer to a tools/call, and whether it is an error."""
    result = answer.get("result")
    if not isinstance(result, dict):
        return str((answer.get("error") or {}).get("message", answer)), True
    blocks = result.get("content", [])
    texts = [block["text"] if "text" in block else json.dumps(block) for block in blocks]
    if not texts and "structuredContent" in result:
        texts = [json.dumps(result["structuredContent"], ensure_ascii=False)]
    return "\n".join(texts), bool(result.get("isError"))


def configure(folder, servers, settings):
    """Writes a configuration into a folder. The environment variables that name it, and a data folder."""
    # No model: tools are called by name, and embedding would only heat the machine.
    # Results are compared whole.
    ours = {"model": "/no/model", "execute": {"maxResultBytes": 0}, **settings}
    config = {"mcpServers": servers, "orchestrator": ours}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return {
        "ORCHESTRATOR_CONFIG": str(folder / "config.json"),
        "ORCHESTRATOR_DATA_DIR": str(folder / "data"),
    }
