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


def read_arguments():
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
    return parser.parse_args()


def read_documents(arguments):
    """The documents of all sources that are not left out."""
    operations = words.read(arguments.operations)
    with_tasks, with_summary = data.interfaces(operations, words.read(data.HERE / "operation-tasks.jsonl"))
    sources = {
        "tools": data.real_tools(arguments.shared),
        "operations": with_tasks,
        "summaries": data.shuffled(with_summary, 1)[: arguments.summaries],
        "seal": data.seal_tools(arguments.shared),
    }
    for name, found in sources.items():
        print(f"{name}: {len(found)} tools, {sum(len(document.tasks) for document in found)} tasks", flush=True)
    return [document for name, found in sources.items() if name not in arguments.without for document in found]


class Run:
    """The state of a training: weights, optimizer, rate, batches, averages; kept in a file, so that it can go on."""

    def __init__(self, arguments, encoder, batches):
        self.arguments, self.encoder, self.batches = arguments, encoder, batches
        self.optimizer = torch.optim.AdamW(encoder.parameters(), lr=arguments.rate, weight_decay=0.01)
        warm = max(1, arguments.horizon // 12)

        def rate(step):
            after = (step - warm) / max(1, arguments.horizon - warm)
            return min(1, (step + 1) / warm) * (1 if after < 0 else 0.05 + 0.95 * (1 + math.cos(math.pi * after)) / 2)

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate)
        self.stock, self.average, self.snapshots, self.step = encoder.state(), encoder.state(), [], 0
        self.file = arguments.out / "training-state.pt"
        if self.file.exists():
            self.restore(torch.load(self.file, weights_only=False))

    def restore(self, state):
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.batches.restore(state["batches"])
        self.average, self.snapshots, self.step = state["average"], state["snapshots"], state["step"]
        print(f"goes on after step {self.step}", flush=True)

    def learn(self, loss):
        """A step down the gradient of `loss`."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        decay = min(0.98, self.step / (self.step + 10))
        for name, value in self.encoder.state().items():
            self.average[name].mul_(decay).add_(value, alpha=1 - decay)
        self.step += 1

    def keep(self):
        """Writes the model as it would be if this were the end, and all that is needed to go on."""
        self.snapshots.append({name: value.clone() for name, value in self.average.items()})
        mean = {name: sum(snapshot[name] for snapshot in self.snapshots) / len(self.snapshots) for name in self.average}
        mixed = {name: value.lerp(self.stock[name], self.arguments.keep) for name, value in mean.items()}
        save(mixed, self.arguments.stock, self.arguments.out)
        state = {"step": self.step, "average": self.average, "snapshots": self.snapshots}
        state |= {"batches": self.batches.state(), "encoder": self.encoder.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
        torch.save(state, self.file)


def losses(encoder, texts, batch, same, device):
    """The losses of a batch, from tasks to texts and from texts to tasks."""
    chosen, tools, asked = batch
    rows = texts.ids([task for task, _, _ in asked], TASK_TOKENS) + texts.ids(tools, TOOL_TOKENS)
    with torch.autocast(device, dtype=torch.bfloat16):
        vectors = embed(encoder, rows, device).float()
    similarity = vectors[: len(asked)] @ vectors[len(asked) :].T
    wanted = torch.zeros(len(asked), len(chosen), dtype=torch.bool)
    for row, (_, places, _) in enumerate(asked):
        wanted[row, places] = True
    named = torch.tensor([named for _, _, named in asked])
    at = torch.tensor(chosen)
    ignored = (wanted.float() @ same[at][:, at].float() > 0) & ~wanted & ~named[:, None]
    wanted, ignored = wanted.to(device), ignored.to(device)
    return contrast(similarity, wanted, ignored), contrast(similarity.T, wanted.T, ignored.T)


def main():
    arguments = read_arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(max(torch.get_num_threads(), 2))
    arguments.out.mkdir(parents=True, exist_ok=True)

    texts, encoder = Texts(arguments.stock), Encoder(arguments.stock).to(device)
    documents = read_documents(arguments)
    with torch.autocast(device, dtype=torch.bfloat16):
        vectors = embed_texts(encoder, texts, [words.text_of_tool(document.tool) for document in documents], device)
        same = same_elsewhere(encoder, texts, documents, device)
    batches = Batches(documents, neighbours(vectors.float().cpu(), documents), arguments.seed)
    judge = Judge(arguments.shared, texts)
    print(f"embedded; stock: {judge.line(encoder)}", flush=True)

    run = Run(arguments, encoder, batches)
    started, recent = time.time(), []
    while run.step < arguments.steps:
        forward, backward = losses(encoder, texts, batches.batch(), same, device)
        run.learn(forward + 0.3 * backward)
        recent = [*recent[-19:], (forward.item(), backward.item())]
        if run.step % 20 == 0:
            mean = [sum(values) / len(recent) for values in zip(*recent)]
            print(f"{run.step} loss {mean[0]:.3f} {mean[1]:.3f} {time.time() - started:.0f} s", flush=True)
        if run.step % arguments.every == 0 or run.step == arguments.steps:
            run.keep()
            print(f"{run.step}: {judge.line(Encoder(arguments.out).to(device))}", flush=True)


if __name__ == "__main__":
    main()
