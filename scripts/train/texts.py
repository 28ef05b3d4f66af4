"""The texts that the encoder is trained on: tools as the orchestrator embeds them (src/catalog/text.rs),
tasks as people put them, and the labelled sets."""

import json
import re

# As in src/catalog/text.rs.
DESCRIPTION_CHARS = 2_000


def read(file):
    return [json.loads(line) for line in open(file) if line.strip()]


def identifier_words(identifier):
    """`get_currentTime-v2` as words: `get current time v2`."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", identifier)
    words = re.sub(r"([A-Z])([A-Z][a-z])", r"\1 \2", words)
    return " ".join(re.findall(r"[^\W_]+", words)).lower()


def tool_id(tool):
    return f"{tool['server']}:{tool['name']}"


def parts_of_tool(tool):
    """Words of the server, words of the name, description, names of the parameters."""
    description = " ".join((tool.get("description") or "").strip()[:DESCRIPTION_CHARS].split())
    properties = (tool.get("inputSchema") or {}).get("properties") or {}
    return [
        identifier_words(tool["server"]),
        identifier_words(tool["name"]),
        description,
        ", ".join(identifier_words(name) for name in properties),
    ]


def text_of_tool(tool):
    server, name, description, parameters = parts_of_tool(tool)
    return join(server, name, description, parameters)


def join(server, name, description, parameters):
    text = f"{server} {name}".strip()
    if description:
        text += f": {description}"
    return " ".join(part for part in [text, parameters, server] if part)


def vary_tool(tool, draw):
    """The text as another author might have left it: without its server, its parameters, its end."""
    server, name, description, parameters = parts_of_tool(tool)
    if draw.random() < 0.10:
        server = ""
    if draw.random() < 0.15:
        parameters = ""
    if draw.random() < 0.20:
        description = re.split(r"(?<=[.!?])\s", description, maxsplit=1)[0]
    elif draw.random() < 0.05:
        description = ""
    return join(server, name, description, parameters)


def vary_task(task, draw):
    """The task as it may be typed: in lower case, without its full stop, with a slip, a word lost."""
    if draw.random() < 0.15:
        task = task.lower()
    if draw.random() < 0.20:
        task = task.rstrip(".!?")
    words = task.split()
    if draw.random() < 0.15:
        for _ in range(draw.choice([1, 1, 2])):
            at = draw.randrange(len(words))
            words[at] = slip(words[at], draw)
    if len(words) > 5 and draw.random() < 0.08:
        del words[draw.randrange(len(words))]
    return " ".join(words)


def slip(word, draw):
    """A typing mistake in a word of four letters or more."""
    if len(word) < 4 or not word.isalpha():
        return word
    at = draw.randrange(1, len(word) - 1)
    kind = draw.choice(["swap", "drop", "double", "near"])
    if kind == "swap":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == "drop":
        return word[:at] + word[at + 1 :]
    if kind == "double":
        return word[:at] + word[at] + word[at:]
    return word[:at] + draw.choice("etaoinsrhl") + word[at + 1 :]


CONNECTORS = [" and then ", ", then ", ". After that, ", " and ", ". Also ", "; next, ", ". Then "]


def join_tasks(tasks, draw):
    """Several tasks as one of several steps."""
    text = tasks[0].rstrip(".!? ")
    for task in tasks[1:]:
        text += draw.choice(CONNECTORS) + task[0].lower() + task[1:].rstrip(".!? ")
    return text
