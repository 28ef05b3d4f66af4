"""What /proc tells of processes: which belong to a run, what they hold, which are left, and which dead ones
nobody waits for. Every process of a run has a mark in its environment, and its children inherit it.

Knows nothing of sessions or of what the processes do. Linux only.
"""

import asyncio
import collections
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import time

# The variable that has the mark.
MARK = "RELIABILITY_MARK"
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6

# Seconds. A dead process that nobody has waited for after so long is a zombie for good.
ZOMBIE_AGE = 1.0
LOOK_EVERY = 0.25


class Stat(collections.namedtuple("Stat", "state parent born pages")):
    """State, parent, start time and resident pages of a process. Number and start time together name
    it for good."""

    @property
    def lives(self):
        return self.state not in "ZX"


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read(pid, file):
    """A file of a process, empty when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:
        return b""


def stat(pid):
    """As proc(5) has it. The program's name, in parentheses, may hold anything."""
    fields = read(pid, "stat").rpartition(b")")[2].split()
    if not fields:
        return Stat("X", 0, 0, 0)
    return Stat(fields[0].decode(), int(fields[1]), int(fields[19]), int(fields[21]))


def lives(pid):
    return stat(pid).lives


def marked(mark):
    """Living processes with the mark in their environment."""
    return [pid for pid in pids() if mark.encode() in read(pid, "environ") and lives(pid)]


def below(pid):
    """The living children of a process."""
    return [child for child in map(int, read(pid, f"task/{pid}/children").split()) if lives(child)]


def descendants(root):
    """Living processes below another."""
    children = collections.defaultdict(list)
    for pid in pids():
        found = stat(pid)
        if found.lives:
            children[found.parent].append(pid)
    family = [root]
    for pid in family:
        family += children[pid]
    return family[1:]


def signal_all(some, what=signal.SIGKILL):
    for pid in some:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


def describe(some):
    """Processes for people, the first few of them."""
    lines = [
        (pid, read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")) for pid in list(some)[:4]
    ]
    return "; ".join(f"{pid} ({line.strip()[:120]})" for pid, line in lines)


def memory(pid, key):
    """Megabytes, by a key of /proc/PID/status."""
    found = re.search(rf"{key}:\s+(\d+)".encode(), read(pid, "status"))
    return int(found[1]) / 1024 if found else 0.0


@dataclasses.dataclass
class Size:
    """What a process holds."""

    descriptors: int = 0
    threads: int = 0
    megabytes: float = 0

    @classmethod
    def of(cls, pid):
        try:
            descriptors, threads = (len(os.listdir(f"/proc/{pid}/{name}")) for name in ("fd", "task"))
        except OSError:
            return cls()
        # Memory of its own: pages of its program and of mapped databases come and go by themselves.
        return cls(descriptors, threads, memory(pid, "RssAnon"))

    def within(self, other):
        return self.descriptors <= other.descriptors and self.threads <= other.threads

    def grow_to(self, other):
        """Takes over whatever is larger."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, max(getattr(self, field.name), getattr(other, field.name)))

    def __str__(self):
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.megabytes:.1f} MB"


async def wait_until(test, patience, every=0.02):
    """Seconds until `test` holds, or None."""
    began = time.perf_counter()
    while not test():
        if time.perf_counter() - began > patience:
            return None
        await asyncio.sleep(every)
    return time.perf_counter() - began


class Zombies:
    """Looks all the time for dead processes that the orchestrator or a guard does not wait for. Those of
    sick children are their own affair."""

    def __init__(self, root):
        self.root = root
        self.program = os.readlink(f"/proc/{root}/exe")
        # When each dead process was seen first, and what is known of those that stay.
        self.seen, self.found = {}, {}
        self.task = asyncio.create_task(self.watch())

    async def watch(self):
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_EVERY)

    def look(self):
        now = time.monotonic()
        stats = {pid: stat(pid) for pid in pids()}
        dead = {}
        for pid, found in stats.items():
            if found.state == "Z" and self.is_ours(found.parent, stats):
                dead[pid, found.born] = self.seen.get((pid, found.born), now)
        self.seen = dead
        for (pid, born), since in dead.items():
            if now - since > ZOMBIE_AGE and (pid, born) not in self.found:
                name = read(pid, "comm").decode(errors="replace").strip()
                self.found[pid, born] = f"{name} of {describe([stats[pid].parent])}"

    def is_ours(self, pid, stats):
        try:
            is_guard = os.readlink(f"/proc/{pid}/exe") == self.program
        except OSError:
            return False
        return pid == self.root or is_guard and stats[pid].parent == self.root

    def stop(self):
        """What was found, in words."""
        self.task.cancel()
        return list(self.found.values())


class Watch:
    """Looks at all processes with a mark that is followed by the name of their owner, MARK=RUN/OWNER, and
    at theirs: which owner each belongs to, and how much memory all of an owner had at most."""

    PAUSE = 0.2

    def __init__(self, run, root):
        """`root` is the owner that starts all others."""
        self.root = root
        self.mark = re.compile(re.escape(f"{MARK}={run}/".encode()) + rb"([^\0]+)")
        # Owners by process, for good; and by number, as last seen.
        self.owners, self.running = {}, {}
        self.peak_mb, self.last_seen = {}, {}
        self.looking = asyncio.Lock()
        self.task = asyncio.create_task(self.watch())

    async def watch(self):
        while True:
            await self.look()
            await asyncio.sleep(self.PAUSE)

    def stop(self):
        self.task.cancel()

    async def look(self):
        """Numbers of living processes by owner."""
        async with self.looking:
            return await asyncio.to_thread(self.look_at_all)

    def look_at_all(self):
        running, memory_of, groups = {}, {}, collections.defaultdict(list)
        for pid in pids():
            found = stat(pid)
            if not found.lives or not (owner := self.owner_of(pid, found)):
                continue
            running[pid] = owner
            groups[owner].append(pid)
            megabytes, before = found.pages * PAGE_MB, memory_of.get(owner, 0)
            # A process that the root has just forked shares its memory: it must not count twice.
            memory_of[owner] = max(before, megabytes) if owner == self.root else before + megabytes
        self.running = running
        for owner, megabytes in memory_of.items():
            self.peak_mb[owner] = max(self.peak_mb.get(owner, 0), megabytes)
            self.last_seen[owner] = time.perf_counter()
        return groups

    def owner_of(self, pid, found):
        process = (pid, found.born)
        if process in self.owners:
            return self.owners[process]
        said = self.mark.search(read(pid, "environ"))
        # A program may write over its environment; it still belongs to its parent's owner.
        owner = said[1].decode() if said else self.running.get(found.parent)
        if owner == self.root:
            # What the root has forked may be somebody else's before it has become its program.
            return owner if said else None
        if owner:
            self.owners[process] = owner
        return owner

    async def wait_until_gone(self, owners, seconds):
        """Waits until none of these has a process; those that do, with the numbers."""
        deadline = time.perf_counter() + seconds
        while True:
            groups = await self.look()
            left = {owner: groups[owner] for owner in owners if owner in groups}
            if not left or time.perf_counter() > deadline:
                return left
            await asyncio.sleep(0.1)

    def gone(self, owner, since):
        """Seconds from `since` until the owner's last process was gone."""
        return max(0, self.last_seen.get(owner, since) - since)
