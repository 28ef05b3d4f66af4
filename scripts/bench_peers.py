#!/usr/bin/env python3
"""Times what FastMCP does of what the orchestrator does, on the same machine: its proxy in front of the fixture child, and
its BM25 search over as many tools.

usage: bench_peers.py proxy FIXTURE        serves a proxy in front of one child on stdin and stdout
       bench_peers.py search FOLDER        prints JSON: ms to begin and to search, over the tools of a folder

FOLDER is one of scripts/large_catalog.py. Runs in a Python that has fastmcp (scripts/bench_speed.sh makes it).
"""

import asyncio
import json
import pathlib
import statistics
import sys
import time

TASKS = [
    "what time is it in Tokyo right now",
    "open a pull request for my branch and ask Ada for a review",
    "find all invoices of last month that nobody has paid yet",
    "post the build results to the team channel",
    "which customers signed up this week",
    "crop the screenshot and save it as a PNG",
]


def proxy(fixture):
    from fastmcp.server import create_proxy

    config = {"mcpServers": {"one": {"command": fixture, "args": []}}}
    create_proxy(config, name="peer").run(transport="stdio", show_banner=False)


async def search(folder):
    from fastmcp import Client, FastMCP
    from fastmcp.server.transforms.search import BM25SearchTransform
    from fastmcp.tools import Tool

    began = time.perf_counter()
    server = FastMCP("peer", transforms=[BM25SearchTransform(max_results=5)])
    names = json.loads((folder / "config.json").read_text())["mcpServers"]
    count = 0
    for name, entry in names.items():
        for tool in json.loads(pathlib.Path(entry["args"][1]).read_text())["tools"]:

            class Listed(Tool):
                async def run(self, arguments):
                    return None

            schema = tool.get("inputSchema") or {"type": "object"}
            description = tool.get("description") or ""
            server.add_tool(Listed(name=f"{name}__{tool['name']}"[:128], description=description, parameters=schema))
            count += 1
    async with Client(server) as client:
        await client.call_tool("search_tools", {"query": TASKS[0]})
        first = (time.perf_counter() - began) * 1e3
        times = []
        for number in range(60):
            began = time.perf_counter()
            await client.call_tool("search_tools", {"query": f"{TASKS[number % len(TASKS)]} {number}"})
            times.append((time.perf_counter() - began) * 1e3)
    print(json.dumps({"tools": count, "first_search_ms": round(first), "search_ms": round(statistics.median(times), 2)}))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if sys.argv[1] == "proxy":
        proxy(sys.argv[2])
    else:
        asyncio.run(search(pathlib.Path(sys.argv[2])))
