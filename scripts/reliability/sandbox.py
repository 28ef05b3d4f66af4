"""What the phases of soak.py share: a sandbox that `orchestrator serve` is started in again and again, what
it holds at rest, and the list of what was not as promised. Knows nothing of any phase."""

import os
import pathlib
import shutil
import sqlite3
import tempfile
import uuid

from processes import (
    LOOK_EVERY,
    MARK,
    ZOMBIE_AGE,
    Size,
    Zombies,
    descendants,
    describe,
    marked,
    signal_all,
    wait_until,
)
from session import Session, configure

# Seconds. An answer that has not come by then never will: far above all deadlines that a phase sets.
PATIENCE = 30
# For `serve` to end after its input was closed, with children that have to be killed.
END_PATIENCE = 10
# For idle children to be closed, and for idle threads to end.
REST_PATIENCE = 15
# Memory that may stay: the allocator keeps pages that lines of 1 MiB from all sick children have
# touched at once, in buffers of twice that.
GROWTH_MB = 32


class Report:
    """What was not as promised, said when it is found."""

    def __init__(self):
        self.broken = []

    def check(self, holds, sentence):
        if not holds:
            self.broken.append(sentence)
            print(f"  NOT AS PROMISED: {sentence}", flush=True)
        return holds


def say(text):
    print(f"  {text}", flush=True)


class Sandbox:
    """A folder with a configuration and a data folder of its own, and a mark for its processes."""

    def __init__(self, orchestrator, servers, settings, report):
        self.orchestrator, self.report = orchestrator, report
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
        self.mark = uuid.uuid4().hex
        for server in servers.values():
            server["env"] = {MARK: self.mark}
        self.environment = {**os.environ, MARK: self.mark, **configure(self.folder, servers, settings)}
        self.broken_before = len(report.broken)

    async def start(self):
        with (self.folder / "stderr.log").open("ab") as log:
            return await Session.start([self.orchestrator, "serve"], self.environment, log, PATIENCE)

    async def start_watched(self):
        """A session that is initialized, and a look-out for zombies."""
        session = await self.start()
        answered, _ = await session.initialize()
        self.report.check(answered, "initialize was not answered")
        return session, Zombies(session.pid)

    async def end(self, session):
        """Ends the session as a host does. The seconds, or None, and the number of processes left."""
        took, code = await session.end(END_PATIENCE)
        left = marked(self.mark)
        self.report.check(took is not None and code == 0, f"serve ended with {code} after {took} s")
        self.report.check(not left, f"{len(left)} processes were left after the end: {describe(left)}")
        return took, len(left)

    def stop(self, zombies):
        found = zombies.stop()
        some = "; ".join(found[:2])
        self.report.check(not found, f"{len(found)} dead processes were not waited for: {some}")
        say(f"dead processes that were not waited for within {ZOMBIE_AGE:g} s: {len(found)}")

    def check_size(self, before, after):
        """Compares what is held at rest."""
        if not self.report.check(before and after, "children that nobody used were not closed"):
            return
        say(f"at rest before: {before}; at rest after: {after}")
        for what in ("descriptors", "threads"):
            more = getattr(after, what) - getattr(before, what)
            self.report.check(more <= 0, f"{more} {what} more than before, with all children closed")
        grown = after.megabytes - before.megabytes
        self.report.check(grown <= GROWTH_MB, f"{grown:.0f} MB more than before, with all children closed")

    def database(self, name):
        """A copy, opened: the recovery after a kill is left to the orchestrator's next start."""
        copies = self.folder / "copies"
        shutil.rmtree(copies, ignore_errors=True)
        copies.mkdir()
        for ending in ("", "-wal"):
            file = self.folder / "data" / (name + ending)
            if file.exists():
                shutil.copy(file, copies)
        return sqlite3.connect(copies / name)

    def remove(self):
        """Ends what is left of its processes; the folder stays for whoever looks into a failure."""
        signal_all(marked(self.mark))
        if len(self.report.broken) > self.broken_before:
            say(f"its configuration, data and stderr are in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


async def at_rest(session, before=None):
    """What the orchestrator holds once all its children were closed for idleness; waits until that is no
    more than it was `before`. The threads that tokio keeps for blocking work end after 10 s."""
    if await wait_until(lambda: not descendants(session.pid), REST_PATIENCE, LOOK_EVERY) is None:
        return None
    if before:
        await wait_until(lambda: Size.of(session.pid).within(before), REST_PATIENCE, LOOK_EVERY)
    return Size.of(session.pid)
