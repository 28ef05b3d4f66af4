#!/usr/bin/env python3
"""Fetches the public ones of the labelled sets that ranking is measured on, in the format of `orchestrator eval`.

usage: fetch_labelled_sets.py [FOLDER]

Writes tools.jsonl and queries.jsonl into FOLDER/livemcpbench, FOLDER/seal-tools and FOLDER/mcpproxy-golden (FOLDER is
target/labelled-sets), from public repositories at fixed commits. What comes out is held against the checksums of
the files that BENCHMARKS.md was measured on; if one differs, that is said, and the exit status is 1.

What a conversion relies on was read in the repositories, except: of MCPProxy's two files only the code that writes
and reads them (scripts/gen-corpus-v2.sh, bench/metrics.go), and LiveMCPBench's annotations in a fork that has other paths
in its tasks. MCPProxy's labels of relevance 0, "irrelevant" to its authors, become slots like any other, since they
are slots in the measured files; `grades` tells them.
"""

import hashlib
import json
import re
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SEAL_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def tool(server, server_description, name, description, schema):
    return {
        "server": server,
        "serverDescription": server_description,
        "name": name,
        "description": description or "",
        "inputSchema": schema,
    }


def lines(text):
    """The JSON lines of a file. Not by splitlines(), which also splits where a string holds a rarer line break."""
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def by_name(tools):
    """`server:tool` of all tools of a name: the sources label bare names."""
    names = defaultdict(list)
    for found in tools:
        names[found["name"]].append(f"{found['server']}:{found['name']}")
    return names


def livemcpbench(catalog, annotations):
    """Labels that no tool bears are left out, and with them the tasks that have no other."""
    tools = [
        tool(server, entry["description"], found["name"], found["description"], found["inputSchema"])
        for entry in json.loads(catalog)
        for server, listed in entry["tools"].items()
        for found in listed["tools"]
    ]
    names = by_name(tools)
    queries = []
    for task in json.loads(annotations):
        wanted = [re.sub(r"^\d+\.", "", line).strip() for line in task["Annotator Metadata"]["Tools"].splitlines()]
        slots = [names[name] for name in wanted if name in names]
        if slots:
            queries.append({"query": task["Question"], "relevant": slots, "split": task["category"]})
    return tools, queries


def seal_tools(catalog, *tests):
    """A tool's server is the last part of its field."""
    tools = []
    for found in lines(catalog):
        properties = {
            name: {"type": SEAL_TYPES.get(value["type"], "string"), "description": value["description"]}
            for name, value in found["parameters"].items()
        }
        schema = {"type": "object", "properties": properties, "required": found["required"]}
        tools.append(tool(found["field"].split("/")[-1], None, found["api_name"], found["api_description"], schema))
    names = by_name(tools)
    queries = []
    for task in [task for test in tests for task in lines(test)]:
        calls = task["calling"]
        queries.append({
            "query": task["query"],
            "relevant": [names[call["api"]] for call in calls],
            "arguments": calls[0]["parameters"],
            "split": f"{task['id'].split('-')[0]}-{'s' if len(calls) == 1 else 'm'}",
        })
    return tools, queries


def mcpproxy_golden(corpus, golden):
    tools = [
        tool(found["server"], None, found["tool"], found["description"], found["schema"])
        for found in json.loads(corpus)["tools"]
    ]
    queries = []
    for task in json.loads(golden)["queries"]:
        labels = sorted(task["labels"], key=lambda label: -label["relevance"])
        queries.append({
            "query": task["query"],
            "relevant": [[label["tool_id"]] for label in labels],
            "grades": {label["tool_id"]: label["relevance"] for label in labels},
        })
    return tools, queries


# Of each set: its conversion, repository, commit and files, and the SHA-256 of what is to come out.
SETS = {
    "livemcpbench": (
        livemcpbench,
        "icip-cas/LiveMCPBench",
        "a928e57d1ee7a25579b9a7036030faffff72d15b",
        ["tools/LiveMCPTool/tools.json", "annotated_data/all_annotations.json"],
        "3ed0066f51c618088198a2a999fdfb3535e5b4c864d7e5fa48e980d9b7c2b1c6",
        "723fdb59df430a9159c69196ef3860d4929cd80a505d2cd7c6418daff38ca77f",
    ),
    "seal-tools": (
        seal_tools,
        "fairyshine/Seal-Tools",
        "ce753ecd60ed08dd376984035de531ab8421f1c6",
        [f"Seal-Tools_Dataset/{name}.jsonl" for name in ("tool", "test_in_domain", "test_out_domain")],
        "fbd73fdb368b13ceba78bd26955c0170faecfd970151044d3c5105dd18b44f93",
        "0a5524f36e90a53ed0ab2343634e8242f9e1cbe759c64a30f80d3f839391dd23",
    ),
    "mcpproxy-golden": (
        mcpproxy_golden,
        "smart-mcp-proxy/mcpproxy-go",
        "20a3e50",
        [
            "specs/083-discovery-profiler/datasets/corpus_v2.tools.json",
            "specs/065-evaluation-foundation/datasets/retrieval_golden_v1.json",
        ],
        "51df221e00c4c91a45c7af0fa4624fb070f2ab04dd3d47fc06f1b7f4a6628bbc",
        "eb7f657c28c55822c56204b86d3ac6d7f262f6d64c81e7269c291354eaa974c6",
    ),
}


def download(repository, commit, path):
    address = f"https://github.com/{repository}/raw/{commit}/{path}"
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.read().decode()
    except OSError as error:
        sys.exit(f"fetch_labelled_sets: {address}: {error}")


def main():
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "target" / "labelled-sets"
    same = True
    for name, (convert, repository, commit, paths, *checksums) in SETS.items():
        converted = convert(*(download(repository, commit, path) for path in paths))
        (folder / name).mkdir(parents=True, exist_ok=True)
        for kind, rows, checksum in zip(("tools", "queries"), converted, checksums):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
            (folder / name / f"{kind}.jsonl").write_bytes(content)
            if hashlib.sha256(content).hexdigest() != checksum:
                same = False
                print(f"{name}/{kind}.jsonl is not the one that BENCHMARKS.md was measured on", file=sys.stderr)
        print(f"{name}: {len(converted[0])} tools, {len(converted[1])} queries", file=sys.stderr)
    sys.exit(not same)


if __name__ == "__main__":
    main()
