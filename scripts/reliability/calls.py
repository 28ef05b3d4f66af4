"""Calls of the fixture children's tools, whose answers can be taken for no other call's: each has a text that
only its own answer holds. Tells of an answer whether it is right, a clear failure, or what must not be.

Knows the two fixtures (tests/fixtures/server.rs and hostile.rs) and the orchestrator's error texts.
"""

import asyncio
import dataclasses
import json
import random
import re
import time
import uuid

from session import call_of, text_of

# How a call may fail, by what is said of it. Whatever fits none of these is no clear failure.
FAILURES = {
    "outcome unknown": r"ended during the call of .* its outcome is unknown",
    "not sent": r"ended before the call of .* it was not sent",
    "timeout": r":\w+ did not answer within [\d.]+ s; .* its outcome is unknown",
    "busy": r"is busy: \d+ calls are under way",
    "breaker": r"takes no calls for the next [\d.]+ s",
    "not started": r"ended (during the handshake|while listing|by itself)"
    r"|(did not answer|refused) (initialize|the handshake|tools/list)"
    r"|is started again in|cannot start|was given up",
    "invalid answer": r"gave an invalid answer",
    "rejected": r"rejected the call",
    "cancelled": r"was cancelled|cancelled while",
}
# What a sick child answers to `misbehave` when that can be understood at all.
BEHAVED = re.compile(r"behaved|both|told .*", re.DOTALL)
NONCE = re.compile(r"nonce-[0-9a-f]{32}")
# A cancelled call need not be answered; seconds in which it still may.
AFTER_CANCEL = 1


def checksum(text):
    """FNV-1a of 64 bits, as the hostile fixture has it."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


class Payloads:
    """Texts of many sizes with their checksums, made once: Python would spend its time on them."""

    def __init__(self):
        sizes = [*random.choices((0, 20, 200, 2_000), k=64), 60_000, 200_000]
        texts = ["".join(random.choices('abcdefghij é"\\\n漢', k=size)) for size in sizes]
        self.known = [(text, checksum(text)) for text in texts]

    def pick(self):
        return random.choice(self.known)


@dataclasses.dataclass
class Call:
    """A call of a child's tool, with the one right answer to it."""

    server: str
    tool: str
    arguments: dict
    # A pattern where the child may answer in several ways.
    right: str | re.Pattern
    nonce: str = ""
    sent: float = 0
    done: float = 0
    cancelled: bool = False
    # "ok", a key of FAILURES, or what must not be: "crossed", "wrong", "unclear", "lost".
    kind: str = ""
    text: str = ""
    # The name of its row in the audit trail.
    request: str | None = None

    @property
    def seconds(self):
        return self.done - self.sent

    def is_right(self, text):
        if isinstance(self.right, re.Pattern):
            return bool(self.right.fullmatch(text))
        return text == self.right

    async def make(self, session, wants_progress=False, cancel_after=None):
        """Makes the call and sees it to its end."""
        self.sent = time.perf_counter()
        params = call_of(self.server, self.tool, self.arguments)
        number, answer = session.send("tools/call", params, wants_progress)
        if cancel_after is not None:
            await asyncio.wait([answer], timeout=cancel_after)
            if not answer.done():
                self.cancelled = True
                session.notify("notifications/cancelled", {"requestId": number})
        await asyncio.wait([answer], timeout=AFTER_CANCEL if self.cancelled else session.patience)
        self.settle(*answer.result() if answer.done() else (None, time.perf_counter()))
        return self

    def settle(self, answer, now):
        """Takes in the answer, or None if none came."""
        self.done = now
        self.kind = self.kind_of(answer)
        if self.kind in ("ok", "lost"):
            self.text = ""
        # Megabytes of them are kept otherwise.
        self.arguments, self.right, self.text = {}, "", self.text[:600]

    def kind_of(self, answer):
        if answer is None:
            return "lost"
        result = answer.get("result")
        if not isinstance(result, dict):
            self.text = json.dumps(answer.get("error", answer))
            return "unclear"
        facts = (result.get("_meta") or {}).get("orchestrator") or result.get("structuredContent") or {}
        self.request = facts.get("request_id")
        self.text, is_error = text_of(answer)
        if is_error:
            clear = (kind for kind, said in FAILURES.items() if re.search(said, self.text, re.DOTALL))
            return next(clear, "unclear") if self.server in self.text else "unclear"
        if self.is_right(self.text):
            return "ok"
        return "crossed" if set(NONCE.findall(self.text)) - {self.nonce} else "wrong"


def make_call(server, tool, payload):
    """A call that no other call has the right answer of; `payload` is a text with its checksum."""
    nonce = f"nonce-{uuid.uuid4().hex}"
    text, total = payload
    if tool == "checksum":
        return Call(server, tool, {"nonce": nonce, "payload": text}, f"{nonce}:{total}", nonce)
    if tool == "sleep":
        milliseconds = random.randrange(300)
        return Call(server, tool, {"ms": milliseconds, "token": nonce}, nonce, nonce)
    if tool == "write":
        return Call(server, tool, {"message": nonce}, "written", nonce)
    if tool == "misbehave":
        return Call(server, tool, {"message": nonce}, BEHAVED, nonce)
    return Call(server, tool, {"message": nonce + text}, nonce + text, nonce)
