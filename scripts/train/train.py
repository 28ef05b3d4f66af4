#!/usr/bin/env python3
"""Trains the encoder from the stock model by contrast: a task lies close to the text of its tool, far from others.

usage: train.py --shared FOLDER --stock FOLDER --operations FILE --out FOLDER [options]

A batch is made of neighbourhoods: a tool, and those whose texts are closest to it by the stock model,
on its server and on others, each with some of its tasks. So the in-batch negatives are the look-alikes.
Tools of other servers that do the same by their text are no negatives of a task that does not name the
server, since it asks for either.
"""

import argparse
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import data
import texts as words
from encoder import Encoder, Texts, embed, embed_texts, save
from evaluate import Judge

# As many neighbourhoods of as many tools, and tasks of each, make a batch.
NEIGHBOURHOODS, NEIGHBOURS, TASKS = 7, 8, 4
SUMMARIES, SEAL = 8, 4
# Share of a batch's tasks that are joined in twos or threes to tasks of several steps.
SEVERAL_STEPS = 0.06
TASK_TOKENS, TOOL_TOKENS = 64, 128
TEMPERATURE = 0.05
# Cosine of two tools' texts without their servers from which they count as the same, if on two servers.
SAME = 0.65


class Batches:
    """Draws batches from the documents. `near` holds the closest documents of each."""

    def __init__(self, documents, near, seed):
        self.documents, self.near, self.draw = documents, near, random.Random(seed)
        self.by_source = {}
        for at, document in enumerate(documents):
            self.by_source.setdefault(document.source, []).append(at)
        self.queue = []

    def state(self):
        return self.draw.getstate(), list(self.queue)

    def restore(self, state):
        draw, self.queue = state
        self.draw.setstate(draw)

    def seeds(self):
        """Every tool with written tasks comes up as often as any other."""
        if len(self.queue) < NEIGHBOURHOODS:
            self.queue += data.shuffled(
                self.by_source["tools"] + self.by_source.get("operations", []), self.draw.random()
            )
        taken, self.queue = self.queue[:NEIGHBOURHOODS], self.queue[NEIGHBOURHOODS:]
        return taken

    def names_its_server(self, task, at):
        words_of_server = words.identifier_words(self.documents[at].group).split()
        return any(len(word) > 3 and word in task.lower() for word in words_of_server)

    def batch(self):
        """Documents of a batch, and its tasks, each with the documents that it asks for, and whether it names
        the server."""
        chosen = []
        for seed in self.seeds():
            around = self.near[seed]
            others = self.draw.sample(around, min(len(around), NEIGHBOURS - 1))
            chosen += [at for at in [seed, *others] if at not in chosen]
        for source, count in [("summaries", SUMMARIES), ("seal", SEAL)]:
            if pool := self.by_source.get(source):
                # Half of them siblings.
                seed = self.draw.choice(pool)
                around = [at for at in self.near[seed] if self.documents[at].source == source]
                chosen += [at for at in {seed, *around[: count // 2], *self.draw.sample(pool, count // 2)} if at not in chosen]
        asked = []
        for place, at in enumerate(chosen):
            tasks = self.documents[at].tasks
            for task in self.draw.sample(tasks, min(len(tasks), TASKS)):
                asked.append((words.vary_task(task, self.draw), [place], self.names_its_server(task, at)))
        for _ in range(int(len(asked) * SEVERAL_STEPS)):
            parts = self.draw.sample(asked, self.draw.choice([2, 2, 3]))
            places = sorted({place for _, wanted, _ in parts for place in wanted})
            asked.append((words.join_tasks([task for task, _, _ in parts], self.draw), places, False))
        tools = [words.vary_tool(self.documents[at].tool, self.draw) for at in chosen]
        return chosen, tools, asked


def neighbours(vectors, documents, count=24):
    """The closest documents of each: half on its own server, half on others."""
    groups = {}
    for at, document in enumerate(documents):
        groups.setdefault((document.source, document.group), []).append(at)
    near = []
    for at, document in enumerate(documents):
        similarity = vectors @ vectors[at]
        similarity[at] = -1
        siblings = [other for other in groups[document.source, document.group] if other != at]
        siblings.sort(key=lambda other: -similarity[other].item())
        similarity[siblings] = -1
        near.append(siblings[: count // 2] + similarity.topk(count // 2).indices.tolist())
    return near


def same_elsewhere(encoder, texts, documents, device):
    """Which documents do the same on different servers, [documents, documents]."""
    plain = [words.join("", *words.parts_of_tool(document.tool)[1:]) for document in documents]
    vectors = embed_texts(encoder, texts, plain, device).float().cpu()
    names = sorted({document.group for document in documents})
    group = torch.tensor([names.index(document.group) for document in documents])
    return (vectors @ vectors.T > SAME) & (group[:, None] != group[None, :])


def contrast(similarity, wanted, ignored):
    """For each wanted pair of a row, how far it lies above all that are neither wanted nor ignored."""
    logits = similarity / TEMPERATURE
    others = logits.masked_fill(wanted | ignored, -math.inf).logsumexp(1)
    losses = F.softplus(others[:, None] - logits)[wanted]
    # Each row counts once.
    weight = (wanted / wanted.sum(1, keepdim=True).clamp(min=1))[wanted]
    return (losses * weight).sum() / weight.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--stock", type=Path, required=True)
    parser.add_argument("--operations", type=Path, required=True, help="what openapi.py wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=260)
    parser.add_argument("--horizon", type=int, default=520, help="steps until the rate has fallen to its least")
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--summaries", type=int, default=6_000)
    parser.add_argument("--keep", type=float, default=0.2, help="the stock model's share in the weights at the end")
    parser.add_argument("--without", nargs="*", default=[], help="sources to leave out")
    parser.add_argument("--every", type=int, default=130, help="steps between snapshots, whose mean is kept")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(max(torch.get_num_threads(), 2))

    texts, encoder = Texts(arguments.stock), Encoder(arguments.stock).to(device)
    operations = words.read(arguments.operations)
    written = words.read(data.HERE / "operation-tasks.jsonl")
    with_tasks, with_summary = data.interfaces(operations, written)
    sources = {
        "tools": data.real_tools(arguments.shared),
        "operations": with_tasks,
        "summaries": data.shuffled(with_summary, 1)[: arguments.summaries],
        "seal": data.seal_tools(arguments.shared),
    }
    documents = [document for name, found in sources.items() if name not in arguments.without for document in found]
    for name, found in sources.items():
        print(f"{name}: {len(found)} tools, {sum(len(document.tasks) for document in found)} tasks", flush=True)

    with torch.autocast(device, dtype=torch.bfloat16):
        vectors = embed_texts(encoder, texts, [words.text_of_tool(document.tool) for document in documents], device)
        same = same_elsewhere(encoder, texts, documents, device)
    batches = Batches(documents, neighbours(vectors.float().cpu(), documents), arguments.seed)
    judge = Judge(arguments.shared, texts)
    print(f"embedded; stock: {judge.line(encoder)}", flush=True)

    optimizer = torch.optim.AdamW(encoder.parameters(), lr=arguments.rate, weight_decay=0.01)
    warm = max(1, arguments.horizon // 12)

    def rate(step):
        after = (step - warm) / max(1, arguments.horizon - warm)
        return min(1, (step + 1) / warm) * (1 if after < 0 else 0.05 + 0.95 * (1 + math.cos(math.pi * after)) / 2)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    stock, average, snapshots, first = encoder.state(), encoder.state(), [], 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / "training-state.pt"
    if kept.exists():
        state = torch.load(kept, weights_only=False)
        encoder.load_state_dict(state["encoder"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        batches.restore(state["batches"])
        average, snapshots, first = state["average"], state["snapshots"], state["step"]
        print(f"goes on after step {first}", flush=True)
    started, losses = time.time(), []
    for step in range(first, arguments.steps):
        encoder.train()
        chosen, tools, asked = batches.batch()
        rows = texts.ids([task for task, _, _ in asked], TASK_TOKENS) + texts.ids(tools, TOOL_TOKENS)
        with torch.autocast(device, dtype=torch.bfloat16):
            vectors = embed(encoder, rows, device).float()
        tasks, tools = vectors[: len(asked)], vectors[len(asked) :]
        at = torch.tensor(chosen)
        wanted = torch.zeros(len(asked), len(chosen), dtype=torch.bool)
        for row, (_, places, _) in enumerate(asked):
            wanted[row, places] = True
        named = torch.tensor([named for _, _, named in asked])
        ignored = (wanted.float() @ same[at][:, at].float() > 0) & ~wanted & ~named[:, None]
        wanted, ignored = wanted.to(device), ignored.to(device)
        similarity = tasks @ tools.T
        forward, backward = contrast(similarity, wanted, ignored), contrast(similarity.T, wanted.T, ignored.T)
        loss = forward + 0.3 * backward
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        decay = min(0.98, step / (step + 10))
        for name, value in encoder.state().items():
            average[name].mul_(decay).add_(value, alpha=1 - decay)
        losses.append((forward.item(), backward.item()))
        if (step + 1) % 20 == 0:
            recent = [sum(values) / 20 for values in zip(*losses[-20:])]
            print(f"{step + 1} loss {recent[0]:.3f} {recent[1]:.3f} {time.time() - started:.0f} s", flush=True)
        if (step + 1) % arguments.every == 0 or step + 1 == arguments.steps:
            snapshots.append({name: value.clone() for name, value in average.items()})
            mean = {name: sum(snapshot[name] for snapshot in snapshots) / len(snapshots) for name in average}
            mixed = {name: value.lerp(stock[name], arguments.keep) for name, value in mean.items()}
            save(mixed, arguments.stock, arguments.out)
            state = {"step": step + 1, "average": average, "snapshots": snapshots, "batches": batches.state()}
            state |= {"encoder": encoder.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state | {"schedule": schedule.state_dict()}, kept)
            print(f"{step + 1}: {judge.line(Encoder(arguments.out).to(device))}", flush=True)


if __name__ == "__main__":
    main()
