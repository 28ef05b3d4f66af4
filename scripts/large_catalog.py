#!/usr/bin/env python3
"""Makes a configuration with as many tools as wanted, to measure how the orchestrator grows.

usage: large_catalog.py TOOLS FOLDER

The first 1,895 are those of ../shared/servers as they are; the others say the same in other words: synonyms for verbs
and nouns in name and description, sentences left out or moved, another team or place that the server is for. Written
are FOLDER/config.json and a recorded `tools/list` answer for each server, which the fixture child plays (cargo build
--release --examples). The same number gives the same files.
"""

import json
import os
import pathlib
import random
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORDED = ROOT.parent / "shared" / "servers"
SYNONYMS = [
    "get fetch retrieve read obtain", "list show enumerate display", "create add make open", "delete remove erase drop",
    "update change modify edit", "search find query look_up", "send post deliver submit", "run execute start launch",
    "issue ticket problem", "repository repo project", "message note text", "file document", "user member person account",
    "page article entry", "table sheet grid", "event appointment meeting", "database store warehouse", "task job todo",
    "image picture photo", "channel room group", "comment remark reply", "folder directory", "record row item",
    "details information facts", "current present actual", "specific certain given", "return give yield", "new fresh",
    "multiple several many", "allows lets", "provides offers", "using with", "existing available", "based depending",
]
PLACES = (
    "Berlin Lagos Osaka Lima Oslo Quebec Pune Perth Turin Ghent Malmo Cork Austin Leeds Graz Porto Split Hanoi Accra Cusco "
    "finance legal sales support research design logistics payroll marketing security hiring facilities"
).split()


def swaps(random):
    """A word for each word that has synonyms."""
    chosen = {}
    for group in SYNONYMS:
        words = group.split()
        other = random.choice(words)
        chosen |= {word: other for word in words}
    return chosen


def reworded(text, swap):
    def other(match):
        word = match.group()
        found = swap.get(word.lower(), word).replace("_", " ")
        return found.capitalize() if word[:1].isupper() else found

    return re.sub(r"[A-Za-z]+", other, text)


def variant(tool, number, used, place):
    """The tool in other words, under a name that its server does not have yet."""
    chance = random.Random(f"{number} {tool['name']} {place}")
    swap = swaps(chance)
    parts = re.split(r"[_\-.]|(?<=[a-z])(?=[A-Z])", tool["name"])
    name = "_".join(swap.get(part.lower(), part) for part in parts)
    while name in used:
        name += f"_{chance.choice(PLACES).lower()}"
    used.add(name)
    sentences = re.split(r"(?<=[.!?])\s+", reworded(tool.get("description") or "", swap))
    kept = [sentence for sentence in sentences[1:] if chance.random() < 0.7]
    chance.shuffle(kept)
    return tool | {"name": name, "description": " ".join([sentences[0].rstrip(".") + ".", f"For {place}.", *kept])}


def main(count, folder):
    files = [file for file in sorted(RECORDED.glob("*.json")) if file.stem != "fleet"]
    if not files:
        sys.exit(f"{RECORDED} is not there")
    recorded = {file.stem: json.loads(file.read_text())["tools"] for file in files}
    release = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"
    folder.mkdir(parents=True, exist_ok=True)
    servers, left, number = {}, count, 0
    while left > 0:
        place = PLACES[number % len(PLACES)]
        for stem, tools in recorded.items():
            used = set()
            chosen = [variant(tool, number, used, place) if number else tool for tool in tools[:left]]
            left -= len(chosen)
            if chosen:
                name = f"{stem}-{place.lower()}-{number}" if number else stem
                listing = folder.resolve() / f"{name}.json"
                listing.write_text(json.dumps({"tools": chosen}))
                command = str(release / "examples" / "fixture-server")
                servers[name] = {"command": command, "args": ["--listing", str(listing)]}
        number += 1
    (folder / "config.json").write_text(json.dumps({"mcpServers": servers}))
    print(f"{count} tools on {len(servers)} servers in {folder}/config.json")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(int(sys.argv[1]), pathlib.Path(sys.argv[2]))
