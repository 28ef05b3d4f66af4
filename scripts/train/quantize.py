#!/usr/bin/env python3
"""Packs a trained model: matrices as 8-bit integers with one scale a row, the rest as 16-bit floats.

usage: quantize.py MODEL OUT

A matrix `NAME` of [rows, columns] is stored as int8 beside `NAME.scale`, float32 [rows]: its values are those
integers times the scale of their row (read by src/embed/weights.rs). What the embedding does not need, the
pooler and position ids, is left out. Writes the other files of the model as they are, and adds size and
checksum of all to models/manifest.json, under the folder's name.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

MANIFEST = Path(__file__).parent.parent.parent / "models/manifest.json"
FILES = ["config.json", "tokenizer.json", "model.safetensors", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]


def quantize(weights):
    packed = {}
    for name, values in weights.items():
        if not values.dtype.is_floating_point or name.startswith("pooler"):
            continue
        if values.dim() != 2:
            packed[name] = values.half()
            continue
        scale = best_scale(values.float())
        packed[name] = (values / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
        packed[f"{name}.scale"] = scale
    return packed


def best_scale(values):
    """The scale of each row with the least squared error, among some that cut off its largest values."""
    largest = values.abs().amax(1).clamp(min=1e-8)
    best, least = largest / 127, torch.full_like(largest, float("inf"))
    for share in torch.linspace(0.75, 1.0, 26):
        scale = largest * share / 127
        error = ((values / scale[:, None]).round().clamp(-127, 127) * scale[:, None] - values).square().sum(1)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best


def main(model, out):
    out.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        (out / file).parent.mkdir(exist_ok=True)
        (out / file).write_bytes((model / file).read_bytes())
    packed = quantize(load_file(str(model / "model.safetensors")))
    save_file(packed, str(out / "model.safetensors"), metadata={"format": "pt"})
    manifest = json.loads(MANIFEST.read_text())
    files = [
        {"path": file, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for file in FILES
        for content in [(out / file).read_bytes()]
    ]
    entry = next((known for known in manifest["models"] if known["name"] == out.name), None)
    if entry:
        entry["files"] = files
        MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")
    print(f"{out}: {sum(file['bytes'] for file in files):,} bytes, {'listed' if entry else 'not in the manifest'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
