#!/usr/bin/env python3
"""Computes vectors of our packed encoder with PyTorch and writes tests/data/tool-encoder-vectors.json.

usage: reference_vectors.py

The texts are those of tests/data/reference-vectors.json, where sentence-transformers computed the stock model's.
The tests compare our own encoder with both.
"""

import json
from pathlib import Path

import torch

from encoder import MAX_TOKENS, Encoder, Texts, embed_texts

ROOT = Path(__file__).parent.parent.parent
MODEL = ROOT / "models/tool-encoder-v1"


def main():
    texts = [item["text"] for item in json.loads((ROOT / "tests/data/reference-vectors.json").read_text())["items"]]
    tokens, encoder = Texts(MODEL), Encoder(MODEL)
    # One text at a time, so that no padding takes part.
    vectors = [embed_texts(encoder, tokens, [text])[0].tolist() for text in texts]
    items = [
        json.dumps(
            {"text": text, "tokens": len(ids), "vector": [round(value, 7) for value in vector]}, ensure_ascii=False
        )
        for text, ids, vector in zip(texts, tokens.ids(texts, MAX_TOKENS), vectors, strict=True)
    ]
    head = {
        "model": MODEL.name,
        "made_by": "scripts/train/reference_vectors.py",
        "versions": {"torch": torch.__version__},
    }
    out = ROOT / "tests/data/tool-encoder-vectors.json"
    out.write_text(json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "items": [\n    ' + ",\n    ".join(items) + "\n  ]\n}\n")
    print(f"{out}: {len(items)} vectors")


if __name__ == "__main__":
    main()
