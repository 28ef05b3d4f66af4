#!/usr/bin/env python3
"""Computes reference embeddings with sentence-transformers and writes tests/data/reference-vectors.json.

The tests compare the vectors of our own encoder with these. The model is the one in
models/all-MiniLM-L6-v2 (scripts/fetch-model.sh). Needs: pip install sentence-transformers
"""

import json
import pathlib
import platform

import sentence_transformers
import tokenizers
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = "all-MiniLM-L6-v2"
OUTPUT = ROOT / "tests/data/reference-vectors.json"
MAX_TOKENS = 256

SEARCH_FILES = """\
Recursively search for files and directories matching a pattern. The patterns should be glob-style patterns that \
match paths relative to the working directory. Use pattern like '*.ext' to match files in current directory, and \
'**/*.ext' to match files in all subdirectories. Returns full paths to all matching items. Great for finding files \
when you don't know their exact location. Only searches within allowed directories."""

# The description of `sequentialthinking` (@modelcontextprotocol/server-sequential-thinking, MIT), longer than MAX_TOKENS.
SEQUENTIAL_THINKING = """\
A detailed tool for dynamic and reflective problem-solving through thoughts.
This tool helps analyze problems through a flexible thinking process that can adapt and evolve.
Each thought can build on, question, or revise previous insights as understanding deepens.

When to use this tool:
- Breaking down complex problems into steps
- Planning and design with room for revision
- Analysis that might need course correction
- Problems where the full scope might not be clear initially
- Problems that require a multi-step solution
- Tasks that need to maintain context over multiple steps
- Situations where irrelevant information needs to be filtered out

Key features:
- You can adjust total_thoughts up or down as you progress
- You can question or revise previous thoughts
- You can add more thoughts even after reaching what seemed like the end
- You can express uncertainty and explore alternative approaches
- Not every thought needs to build linearly - you can branch or backtrack
- Generates a solution hypothesis
- Verifies the hypothesis based on the Chain of Thought steps
- Repeats the process until satisfied
- Provides a correct answer

Parameters explained:
- thought: Your current thinking step, which can include:
  * Regular analytical steps
  * Revisions of previous thoughts
  * Questions about previous decisions
  * Realizations about needing more analysis
  * Changes in approach
  * Hypothesis generation
  * Hypothesis verification
- nextThoughtNeeded: True if you need more thinking, even if at what seemed like the end
- thoughtNumber: Current number in sequence (can go beyond initial total if needed)
- totalThoughts: Current estimate of thoughts needed (can be adjusted up/down)
- isRevision: A boolean indicating if this thought revises previous thinking
"""

# Over and far over the limit: both must be cut to their first MAX_TOKENS tokens.
COUNTING = " ".join(f"step {number}" for number in range(1, 151))
REPEATED = "The orchestrator finds the right tool on the right server and calls it. " * 40

TEXTS = [
    "a",
    ".",
    "42",
    "hello world",
    "Hello, World!",
    "What time is it in Tokyo right now?",
    "Create a pull request on GitHub from the branch fix/login to main",
    "Send an e-mail to alice@example.com: the meeting on 2026-03-01 at 14:30 is moved!!! (sorry...)",
    "delete the file /tmp/build/output.log, then list what is left in C:\\Users\\me",
    "git_diff_unstaged",
    "read_multiple_files list_directory_with_sizes getCurrentTime convertTime",
    "filesystem.search_files(path, pattern, excludePatterns)",
    "Wie wird das Wetter morgen in München? Bitte prüfe auch Größe und Straßenverhältnisse.",
    "¿Dónde está la biblioteca? Être ou ne pas être, voilà la question.",
    "请帮我查询北京明天的天气",
    "東京の現在時刻を教えてください",
    "Какая сейчас погода в Москве?",
    "🚀 deploy to production ✅ and notify the team 🎉👩‍👩‍👧",
    "naïve café — “quoted” text… ½ ﬁne\u00a0space\u200bzero",
    "def add(left: int, right: int) -> int:\n    return left + right  # the sum\n",
    "SELECT name, count(*) FROM tools WHERE server = 'git' GROUP BY name ORDER BY 2 DESC;",
    '{"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}',
    "  leading and\ttabbed   spaces\r\nand lines  ",
    SEARCH_FILES,
    SEQUENTIAL_THINKING,
    COUNTING,
    REPEATED,
]


def main() -> None:
    model = sentence_transformers.SentenceTransformer(str(ROOT / "models" / NAME), device="cpu")
    assert model.max_seq_length == MAX_TOKENS
    # One text at a time, so that no padding takes part.
    vectors = model.encode(TEXTS, batch_size=1, normalize_embeddings=True, convert_to_numpy=True)
    tokens = [len(model.tokenizer(text)["input_ids"]) for text in TEXTS]
    assert sum(count > MAX_TOKENS for count in tokens) >= 3

    # One item a line, to keep the file readable in a diff.
    items = [
        json.dumps(
            {"text": text, "tokens": min(count, MAX_TOKENS), "vector": [round(float(value), 7) for value in vector]},
            ensure_ascii=False,
        )
        for text, count, vector in zip(TEXTS, tokens, vectors, strict=True)
    ]
    head = {
        "model": NAME,
        "made_by": "scripts/reference_vectors.py",
        "versions": {
            "python": platform.python_version(),
            "sentence-transformers": sentence_transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(
        json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "items": [\n    ' + ",\n    ".join(items) + "\n  ]\n}\n",
        encoding="utf-8",
    )
    print(f"{OUTPUT}: {len(items)} vectors")
    print("tokens:", tokens)


if __name__ == "__main__":
    main()
