"""all-MiniLM-L6-v2's architecture (BERT, 6 layers, 384 wide, mean pooling) in PyTorch, and its tokenizer.

Written out, so that the arithmetic is the one of src/embed/encoder.rs and no more is installed than
torch, tokenizers and safetensors.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

# Tokens of a text that are read, as in the stock model's sentence_bert_config.json.
MAX_TOKENS = 256


class Encoder(torch.nn.Module):
    def __init__(self, folder):
        super().__init__()
        config = json.loads((Path(folder) / "config.json").read_text())
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        weights = unpack(load_file(str(Path(folder) / "model.safetensors")))
        self.weights = torch.nn.ParameterDict(
            {
                # A parameter's name has no dots.
                name.replace(".", "/"): torch.nn.Parameter(value.float())
                for name, value in weights.items()
                if value.dtype.is_floating_point and not name.startswith("pooler")
            }
        )

    def weight(self, name):
        return self.weights[name.replace(".", "/")]

    def linear(self, values, name):
        return F.linear(values, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))

    def normalize(self, values, name):
        width = (values.shape[-1],)
        return F.layer_norm(values, width, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), 1e-12)

    def forward(self, ids, mask):
        """Token ids and their mask, [batch, tokens], to unit vectors, [batch, hidden]."""
        batch, tokens = ids.shape
        values = self.weight("embeddings.word_embeddings.weight")[ids]
        values = values + self.weight("embeddings.position_embeddings.weight")[:tokens]
        values = values + self.weight("embeddings.token_type_embeddings.weight")[0]
        values = self.normalize(values, "embeddings.LayerNorm")
        attended = mask[:, None, None, :].bool()

        def heads(values):
            return values.view(batch, tokens, self.heads, -1).transpose(1, 2)

        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            query, key, value = (
                heads(self.linear(values, f"{name}.attention.self.{part}")) for part in ["query", "key", "value"]
            )
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=attended)
            context = context.transpose(1, 2).reshape(batch, tokens, -1)
            context = self.linear(context, f"{name}.attention.output.dense")
            values = self.normalize(values + context, f"{name}.attention.output.LayerNorm")
            inner = F.gelu(self.linear(values, f"{name}.intermediate.dense"))
            values = self.normalize(values + self.linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        mask = mask[..., None].to(values.dtype)
        return F.normalize(((values * mask).sum(1) / mask.sum(1)).float(), dim=-1)

    def state(self):
        """The weights under their names in a file."""
        return {name.replace("/", "."): value.detach().clone() for name, value in self.weights.items()}


def unpack(weights):
    """Weights as quantize.py packs them, or as they are, in 32-bit floats."""
    return {
        name: values.float() * weights[f"{name}.scale"][:, None] if values.dtype == torch.int8 else values
        for name, values in weights.items()
        if not name.endswith(".scale")
    }


def save(weights, stock, folder):
    """Writes weights as a folder that every loader of the stock model takes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    full = {name: value for name, value in load_file(str(Path(stock) / "model.safetensors")).items()}
    full.update(weights)
    save_file(full, str(folder / "model.safetensors"), metadata={"format": "pt"})
    for file in ["config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]:
        target = folder / file
        target.parent.mkdir(exist_ok=True)
        target.write_text((Path(stock) / file).read_text())


class Texts:
    """Turns texts into batches of token ids."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.no_padding()

    def ids(self, texts, limit=MAX_TOKENS):
        self.tokenizer.enable_truncation(limit)
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]


def pad(rows):
    """Rows of ids to ids and mask, [batch, tokens]."""
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
        mask[at, : len(row)] = 1
    return ids, mask


def embed(encoder, rows, device="cpu", tokens_a_pass=4_096):
    """Rows of ids to unit vectors, [rows, hidden]: those of like length pass together."""
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    passes, start = [], 0
    while start < len(order):
        end = start + 1
        while end < len(order) and len(rows[order[end]]) * (end + 1 - start) <= tokens_a_pass:
            end += 1
        ids, mask = pad([rows[at] for at in order[start:end]])
        passes.append(encoder(ids.to(device), mask.to(device)))
        start = end
    place = torch.empty(len(order), dtype=torch.long)
    place[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(passes)[place.to(device)]


@torch.no_grad()
def embed_texts(encoder, texts, strings, device="cpu"):
    encoder.eval()
    return embed(encoder, texts.ids(strings), device, 16_384)
