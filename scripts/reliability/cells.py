"""The cells of the fault matrix: each is one vice of the hostile fixture in one phase (at first connect, within
a list, within a call, while idle), and what is expected of a proxy that has such a child.

The vices are told in tests/fixtures/hostile.rs. Knows nothing of how a cell is driven; what came out
of one is a dictionary, which matrix.py fills.
"""

import dataclasses
import re

from figures import shortened

# Classes of answers, the best first: error and timeout name the server, vague is an error that does not, or
# that only knows no such tool, wrong is another's or a spoilt result.
CLASSES = ["ok", "error", "timeout", "vague", "wrong", "none"]


@dataclasses.dataclass
class Cell:
    """One vice in one phase, and what is expected of a proxy that has such a child."""

    vice: str
    phase: str
    answers: set
    # Has to be found in the text of every answer that is no "ok".
    text: str = ""
    states: set = frozenset({"ready"})
    # Seconds from the fault to the next good call; None where none can be hoped for.
    recovery: float | None = 1.0
    # Seconds until the sick call is answered.
    within: float = 2.0
    arguments: tuple = ()
    # The tool of the sick call, and the bytes of its argument.
    tool: str = ""
    payload: int = 10
    calls: int = 1
    # Classes for a call to another tool of the sick child, in flight when the fault comes.
    beside: set = frozenset({"ok"})
    # How often `misbehave` has to have run, where that matters.
    runs: int | None = None
    # Whether the child has to be told that the call is cancelled.
    cancelled: bool = False
    # Seconds after the answer before the state is looked at.
    pause: float = 0
    # Megabytes that the proxy may have grown by at its peak.
    growth: float = 64
    # Tells it from another cell of the same vice and phase.
    note: str = ""

    @property
    def name(self):
        return f"{self.vice} {self.phase}" + (f" ({self.note})" if self.note else "")

    def missed(self, found):
        """What of it was not as expected."""
        missed = []
        if wrong := set(found["answers"]) - self.answers:
            missed.append(f"answer {'/'.join(sorted(wrong))}, not {'/'.join(sorted(self.answers))}")
        for kind, text in zip(found["answers"], found["texts"]):
            if kind in ("error", "timeout") and not re.search(self.text, text):
                missed.append(f"text without {self.text!r}")
                break
        if found["beside"] and found["beside"] not in self.beside:
            missed.append(f"call beside it {found['beside']}: {shortened(found['beside_text'], 70)}")
        if found["answer_s"] > self.within:
            missed.append(f"answered after {found['answer_s']:.2f} s, not {self.within:g} s")
        if found["state"] not in self.states and found["state"] != "-":
            missed.append(f"state {found['state']}, not {'/'.join(sorted(self.states))}")
        if self.recovery is not None:
            if found["recovery_s"] is None:
                missed.append("no recovery")
            elif found["recovery_s"] > self.recovery:
                missed.append(f"recovered after {found['recovery_s']:.2f} s, not {self.recovery:g} s")
        if self.runs not in (None, found["runs"]):
            missed.append(f"ran {found['runs']} times, not {self.runs}")
        if self.cancelled and not found["cancelled"]:
            missed.append("the child was not told of the cancellation")
        if found["healthy_failed"] or not found["healthy_done"]:
            missed.append(f"{found['healthy_failed']} healthy calls failed of {found['healthy_done']}")
        if found["leftovers"]:
            missed.append(f"{found['leftovers']} processes left")
        if (grown := found["memory_peak"] - found["memory_before"]) > self.growth:
            missed.append(f"grew by {grown:.0f} MB")
        if found["end_s"] is None:
            missed.append("ignored the end of its input")
        if found["stray_lines"]:
            missed.append(f"{found['stray_lines']} lines on stdout are no JSON-RPC")
        return missed + found["notes"]


OK = {"ok"}
ERROR = {"error"}
TIMEOUT = {"timeout"}
LATE = {"timeout", "error"}
ANY = {"ok", "timeout", "error"}
READY = {"ready"}
DOWN = {"backoff", "failed", "starting"}
EITHER = READY | DOWN

ONCE = ("--times", "1")
UNREADABLE = r"cannot be read"
INVALID = r"invalid answer"
LIMIT = r"limit|longer than|larger than|more than|over \d|exceed|too (big|large|long)"
LOST = r"outcome (is )?unknown"


def start(vice, answers, text="", **rest):
    """At first connect: nothing to recover to unless the vice passes."""
    bad = "ok" not in answers
    rest.setdefault("states", DOWN if bad else READY)
    rest.setdefault("recovery", None if bad else 2.0)
    rest.setdefault("within", 4.0)
    return Cell(vice, "start", answers, text, **rest)


def in_list(vice, answers, text="", **rest):
    return dataclasses.replace(start(vice, answers, text, **rest), phase="list")


def call(vice, answers, text="", **rest):
    return Cell(vice, "call", answers, text, **rest)


def idle(vice, answers, text="", **rest):
    rest.setdefault("recovery", 2.0)
    return Cell(vice, "idle", answers, text, **rest)


CELLS = [
    # At first connect. A start that failed says why, and is tried again after a pause.
    start("exit-0", ERROR, r"exit.* 0"),
    start("exit-1", ERROR, r"(?s)exit.* 1.*cannot find the database"),
    start("exit-127", ERROR, r"(?s)exit.* 127.*command not found"),
    start("exit-1", ANY, states=READY, recovery=1.5, arguments=ONCE, note="once"),
    start("crash", ERROR, r"(?s)(signal|exit|SIGABRT).*out of cheese"),
    start("signal", ERROR, r"signal|exit|SIGKILL"),
    start("orphan", ERROR, r"my child lives on"),
    start("then-exit", ERROR, r"no licence"),
    start("half-line-exit", ERROR, r"in the middle of a word"),
    start("hang", TIMEOUT, r"initialize"),
    start("freeze", TIMEOUT, r"initialize"),
    start("half-line", TIMEOUT, r"initialize"),
    start("late-initialize", TIMEOUT, r"initialize"),
    start("late-initialize", OK, arguments=("--delay-ms", "800"), note="800 ms"),
    start("drip", OK, arguments=("--delay-ms", "5"), note="5 ms"),
    start("wrong-id", LATE),
    start("string-id", ANY, states=EITHER, recovery=None),
    start("duplicate-id", OK),
    start("junk", OK),
    start("unsolicited", OK),
    start("invalid-utf8", ERROR, UNREADABLE),
    start("null-result", ERROR, UNREADABLE),
    start("wrong-shape", ERROR, UNREADABLE),
    start("deep-nesting", ERROR, UNREADABLE),
    start("nan", ERROR, UNREADABLE),
    start("error-shapes", ERROR),
    start("big-line", ERROR, LIMIT),
    start("endless-line", LATE, arguments=("--bytes", "200000000"), note="200 MB"),
    start("list-changed-storm", OK),
    start("stderr-flood", OK),
    start("memory-hog", OK),
    start("ignore-term", OK),
    start("grandchild", OK),
    start("setsid-grandchild", OK),
    start("double-fork", OK),
    start("fork-storm", OK),
    start("asks-ping", OK),
    start("asks-roots", OK),
    start("version-unknown", ERROR, r"1999-01-01"),
    start("modern-only", OK),
    start("dual", OK),
    start("discover-hang", OK),
    start("discover-exit", OK),
    start("no-capability", ERROR, r'server "sick" lists no tools', states=READY),
    # Within tools/list. A fault in one tool costs no other.
    start("list-error", ERROR, r"no backend"),
    start("cursor-endless", OK),
    start("cursor-repeat", OK),
    start("many-tools", OK, growth=160),
    start("duplicate-names", OK),
    start("no-schema", OK),
    start("bad-schema", OK),
    start("ref-loop", OK),
    start("big-description", OK),
    start("changing-tools", OK),
    in_list("exit-1", ERROR, r"(?s)exit.* 1.*cannot find the database"),
    in_list("hang", TIMEOUT, r"tools/list"),
    in_list("half-line", TIMEOUT, r"tools/list"),
    in_list("null-result", ERROR, UNREADABLE),
    in_list("wrong-shape", ERROR, UNREADABLE),
    in_list("invalid-utf8", ERROR, UNREADABLE),
    in_list("deep-nesting", ERROR, UNREADABLE),
    in_list("error-shapes", ERROR),
    in_list("big-line", ERROR, LIMIT),
    in_list("junk", OK),
    # Within a call. Only this call may notice; one of a read-only tool is tried once more.
    call("exit-0", ERROR, LOST, beside=ANY, states=EITHER),
    call("exit-1", ERROR, LOST, beside=ANY, states=EITHER),
    call("crash", ERROR, r"out of cheese", beside=ANY, states=EITHER),
    call("crash", OK, arguments=ONCE, runs=2, note="once"),
    call("crash", ERROR, LOST, arguments=("--no-hint",), runs=1, within=0.3, states=EITHER, note="no hint"),
    call("signal", ERROR, LOST, beside=ANY, states=EITHER),
    call("signal", OK, arguments=ONCE, runs=2, note="once"),
    call("orphan", ERROR, LOST, arguments=("--no-hint",), within=0.5, states=EITHER, note="no hint"),
    call("half-line-exit", ERROR, arguments=("--no-hint",), within=0.3, states=EITHER, note="no hint"),
    call("dies-second-call", OK | ERROR, states=EITHER),
    call("flapping", OK | ERROR, r"down again|takes no calls", calls=6, recovery=2.5),
    # Good answers in between: it is never given up.
    call("flapping-crash", OK | ERROR, calls=6, recovery=2.5),
    call("hang", TIMEOUT, r"sick.*misbehave.*1 s", runs=1, cancelled=True, recovery=2.0),
    call("hang", LATE, r"1 s|takes no calls", calls=7, recovery=2.5, note="seven times"),
    call(
        "late-initialize", TIMEOUT, r"1 s", arguments=("--delay-ms", "1500"), runs=1, recovery=2.0, note="1.5 s"
    ),
    call("freeze", LATE, beside=ANY, recovery=4.0),
    call("half-line", LATE, beside=ANY, recovery=4.0),
    call("wrong-id", TIMEOUT, cancelled=True, recovery=2.0),
    call("string-id", ANY, recovery=2.0),
    call("duplicate-id", OK),
    call("junk", OK),
    call("unsolicited", OK),
    call("invalid-utf8", ERROR, INVALID, within=0.3),
    call("null-result", ERROR, INVALID, within=0.3),
    call("wrong-shape", ERROR, INVALID, within=0.3, calls=4),
    call("deep-nesting", ERROR, INVALID, within=0.3),
    call("nan", ERROR, INVALID, within=0.3),
    call("lone-surrogate", ERROR, INVALID, within=0.3),
    call("error-shapes", ERROR | OK, within=0.3, calls=8),
    call("big-line", ERROR, LIMIT, within=1.0),
    call("endless-line", LATE, LIMIT + "|1 s", beside=ANY, recovery=6.0),
    call("drip", OK, arguments=("--delay-ms", "5"), note="5 ms"),
    call("drip", LATE, beside=ANY, recovery=6.0, note="50 ms"),
    call("deaf", TIMEOUT, r"1 s", tool="checksum", payload=400_000, within=1.5, recovery=4.0, note="pipe full"),
    call("progress-flood", OK, within=3.0, recovery=3.0),
    call("progress-forever", TIMEOUT, r"3 s", within=3.5, recovery=4.0),
    call("memory-hog", OK, arguments=("--bytes", "200000000"), note="200 MB"),
    call("stderr-flood", OK),
    call("list-changed-storm", OK),
    call("grandchild", OK),
    call("double-fork", OK),
    call("fork-storm", OK),
    call("asks-ping", OK, tool="asks"),
    call("asks-roots", OK, tool="asks"),
    call("asks-sampling", OK, tool="asks"),
    call("asks-elicitation", OK, tool="asks"),
    # While idle. The server comes back by itself; five crashes in a row, and it is given up.
    idle("exit-0", ANY, arguments=ONCE, note="once"),
    idle("exit-1", ANY, states={"failed"}, recovery=None, pause=4.0, note="for ever"),
    idle("crash", ANY, arguments=ONCE, note="once"),
    idle("signal", ANY, arguments=ONCE, note="once"),
    idle("orphan", ANY, arguments=ONCE, note="once"),
    idle("half-line-exit", ANY, arguments=ONCE, note="once"),
    idle("hang", ANY, arguments=ONCE, recovery=4.0, note="once"),
    idle("freeze", ANY, arguments=ONCE, recovery=4.0, note="once"),
    idle("half-line", ANY, arguments=ONCE, recovery=4.0, note="once"),
    idle("junk", OK),
    idle("unsolicited", OK),
    idle("null-result", OK),
    idle("invalid-utf8", OK),
    idle("deep-nesting", OK),
    idle("error-shapes", OK),
    idle("endless-line", ANY, arguments=("--bytes", "200000000"), note="200 MB"),
    idle("list-changed-storm", OK),
    idle("stderr-flood", OK),
    idle("double-fork", OK),
    idle("fork-storm", OK),
    idle("memory-hog", OK),
]
# Nothing is wrong in it: what the others are compared with.
BASELINE = start("none", OK, growth=32)
