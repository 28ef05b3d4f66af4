"""What the encoder is trained on: documents (texts of tools) with the tasks that ask for them.

Each source can be left out; models/DATA.md says where it comes from and under which licence.
"""

import gzip
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from texts import read, tool_id

HERE = Path(__file__).parent
# Share of common words from which a task counts as a copy of a query.
NEAR_COPY = 0.6


@dataclass
class Document:
    """A tool with tasks. `group` is what it is drawn with: its server or interface."""

    tool: dict
    source: str
    tasks: list = field(default_factory=list)

    @property
    def group(self):
        return self.tool["server"]


def held_out_servers():
    return set(json.loads((HERE / "held-out-servers.json").read_text()))


def read_pack():
    with gzip.open(HERE.parent.parent / "models/example-tasks.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def fleet_tools(shared):
    return read(shared / "eval/fleet/tools.jsonl")


def real_tools(shared):
    """The tools of the 56 servers: the shipped pack's tasks, and those written for training."""
    held_out = held_out_servers()
    documents = {tool_id(tool): Document(tool, "tools") for tool in fleet_tools(shared)}
    for server in read_pack():
        for tool in server["tools"]:
            documents[f"{server['name']}:{tool['name']}"].tasks += tool["tasks"]
    for line in read(HERE / "tasks.jsonl"):
        documents[line["tool"]].tasks += [line[kind] for kind in ["direct", "indirect", "typo", "pair"]]
    known = [document for document in documents.values() if document.group not in held_out]
    return unique(known, queries_to_avoid(shared))


def interfaces(tools, written):
    """OpenAPI operations: with people's tasks where some were written, else with their own summary."""
    tasks = {line["tool"]: [task for kind, task in line.items() if kind != "tool"] for line in written}
    with_tasks, with_summary = [], []
    for tool in tools:
        if tool_id(tool) in tasks:
            with_tasks.append(Document(tool, "operations", tasks[tool_id(tool)]))
        elif len(tool["summary"]) >= 12:
            # The summary is the task, so that the text must do without it.
            description = tool["description"].removeprefix(tool["summary"]).lstrip(". ")
            with_summary.append(Document(tool | {"description": description}, "summaries", [tool["summary"]]))
    return unique(with_tasks), with_summary


def seal_tools(shared):
    tools = {tool["name"]: tool for tool in read(shared / "eval/seal-tools/tools.jsonl")}
    documents = {}
    for line in read(shared / "train/seal-tools-dev.jsonl"):
        names = {call["api"] for call in line["calling"]}
        if len(names) == 1 and (name := names.pop()) in tools:
            documents.setdefault(name, Document(tools[name], "seal")).tasks.append(line["query"])
    return list(documents.values())


def queries_to_avoid(shared):
    """The words of each query of fleet: people who write tasks for the same tools hit on the same words."""
    return [words_of(query["query"]) for query in read(shared / "eval/fleet/queries.jsonl")]


def words_of(text):
    return frozenset(re.findall(r"[a-z0-9]+", text.lower()))


def is_near_copy(task, queries):
    mine = words_of(task)
    return any(len(mine & query) >= NEAR_COPY * len(mine | query) for query in queries)


def unique(documents, avoided=()):
    """No task twice, none that is a near copy of one to avoid, and no tool without tasks."""
    seen, kept = set(), []
    for document in documents:
        document.tasks = [
            task
            for task in document.tasks
            if not (task in seen or seen.add(task)) and not is_near_copy(task, avoided)
        ]
        if document.tasks:
            kept.append(document)
    return kept


def shuffled(values, seed):
    values = list(values)
    random.Random(seed).shuffle(values)
    return values
