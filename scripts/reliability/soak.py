#!/usr/bin/env python3
"""Keeps `orchestrator serve` under load and kills whatever can be killed: children, their guards, and the
orchestrator itself. Ends with 1 when anything is not as promised, and says what. soak.sh builds what this
needs and runs it.

The phases stand in load.py and kills.py, the measurements in bench.py.
"""

import argparse
import asyncio
import pathlib
import random
import shutil
import sys
import tempfile
import time

import bench
import kills
import load
from programs import add_programs, check_programs
from sandbox import Report


def arguments():
    parser = argparse.ArgumentParser(
        prog="soak.py",
        description=__doc__.split("\n\n")[0],
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_programs(parser)
    parser.add_argument("--seconds", type=float, default=600, help="of load on one session; 0 skips it")
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs of the orchestrator; 0 skips them")
    parser.add_argument("--cycles", type=int, default=10_000, help="starts of children; 0 skips them")
    parser.add_argument("--bench", action="store_true", help="measure calls instead; nothing is checked")
    parser.add_argument("--seed", type=int, help="of what is drawn here; timing stays the machine's")
    options = parser.parse_args()
    if not (0 <= options.seconds < float("inf") and options.kills >= 0 and options.cycles >= 0):
        parser.error("--seconds, --kills and --cycles cannot be negative")
    check_programs(parser, options)
    if options.seed is None:
        options.seed = random.randrange(1_000_000)
    return options


async def main(options):
    if options.bench:
        try:
            await bench.run(options)
        except RuntimeError as error:
            sys.exit(f"soak: {error}")
        return 0
    print(f"soak: seed {options.seed}", flush=True)
    report = Report()
    began = time.perf_counter()
    if options.seconds:
        await load.run(options, report)
    if options.kills:
        await kills.kill_orchestrator(options, report)
    if options.cycles:
        await kills.cycle_children(options, report)
    seconds = time.perf_counter() - began
    verdict = f"{len(report.broken)} things are not as promised" if report.broken else "all as promised"
    print(f"soak: {verdict}, in {seconds:.0f} s", flush=True)
    return 1 if report.broken else 0


if __name__ == "__main__":
    given = arguments()
    random.seed(given.seed)
    given.scratch = pathlib.Path(tempfile.mkdtemp(prefix="soak-scratch-"))
    try:
        sys.exit(asyncio.run(main(given)))
    finally:
        shutil.rmtree(given.scratch, ignore_errors=True)
