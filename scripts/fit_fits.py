#!/usr/bin/env python3
"""Fits the weights of `fits` in models/ranking.json, whether there is a tool for a task at all: a logistic regression over
a few facts of a ranking. It is asked only of tools that have examples: of others the cosines tell too little.

Each file is what `orchestrator eval --evidence` wrote for one labelled set; scripts/evidence.py makes them all. Only
whole sets take part. All sets count the same, however many queries they have. Printed are, for each file when the fit
leaves its whole set out: how well `fits` tells what can be done from what nothing does by its label (or, where the set
labels none, without the tools that would do), and what is refused of either below the threshold; then the threshold.

Only the standard library is used; the fit is by Newton's method with a small ridge, so it has one answer and needs no
seed.
"""

import argparse
import json
import math
from pathlib import Path

from fit_confidence import WEIGHTS, labelled_set, solve

# Share of the tasks that nothing fits, and how much of it is of each kind: their tools are missing where their servers are
# not; nothing does them by their label; their servers are missing.
IN_VAIN = 0.1
KINDS = {"near": 0.5, "none": 0.25, "far": 0.25}
RIDGE = 0.02
# Share of the tasks that can be done, on average over the sets, of which it may be said that nothing fits. One in a hundred
# more is left to the other rules of `execute`, so that no more than one in twenty is refused.
REFUSED = 0.04
FACTS = ["share", "best", "mean", "familiar", "familiarText", "otherService", "otherAction", "otherVerb", "several"]
# Facts that speak against a tool. Each weighs the log of how much more often it stands against the first tool where
# nothing fits than against a right one: a joint fit takes off what the cosines tell already, and where something is near
# they tell little.
OBJECTIONS = ["otherService", "otherAction", "otherVerb"]


def load(path):
    with open(path) as lines:
        found = [json.loads(line) for line in lines]
    return [line for line in found if line["share"] == 100 and line["features"]["taught"]]


def shares(files):
    """How much each line counts: every file for 100 on average, every kind of all of them for its part."""
    for kind, part in [("possible", 1 - IN_VAIN), *((kind, IN_VAIN * part) for kind, part in KINDS.items())]:
        of_kind = [[line for line in lines if line["kind"] == kind] for lines in files]
        of_kind = [lines for lines in of_kind if lines]
        for lines in of_kind:
            for line in lines:
                yield line, 100 * len(files) * part / len(of_kind) / len(lines)


def objections(lines):
    """The weights of the objections."""
    weights = {}
    for name in OBJECTIONS:
        right = [line["features"][name] for line in lines if line["right"]]
        nothing = [line["features"][name] for line in lines if line["kind"] in ("none", "far")]
        rates = [(sum(facts) + 0.5) / (len(facts) + 1) for facts in (right, nothing)]
        weights[name] = math.log(rates[0] / rates[1])
    return weights


def regression(files):
    """Weights by name."""
    size = len(FACTS) + 1
    fixed = objections([line for lines in files for line in lines])
    weights = [fixed.get(name, 0.0) for name in FACTS] + [0.0]
    rows = [
        ([line["features"][name] for name in FACTS] + [1.0], line["possible"], share) for line, share in shares(files)
    ]
    for _ in range(50):
        gradient = [-RIDGE * weight for weight in weights[:-1]] + [0.0]
        hessian = [[RIDGE if row == column and row < size - 1 else 0.0 for column in range(size)] for row in range(size)]
        for values, so, share in rows:
            chance = 1 / (1 + math.exp(-sum(weight * value for weight, value in zip(weights, values))))
            pull, bend = share * (so - chance), share * chance * (1 - chance)
            for row in range(size):
                gradient[row] += pull * values[row]
                for column in range(size):
                    hessian[row][column] += bend * values[row] * values[column]
        for place in map(FACTS.index, fixed):
            gradient[place] = 0.0
            hessian[place] = [float(place == column) for column in range(size)]
        step = solve(hessian, gradient)
        weights = [weight + change for weight, change in zip(weights, step)]
        if max(map(abs, step)) < 1e-6:
            break
    return {name: round(weight, 3) for name, weight in zip([*FACTS, "constant"], weights)}


def fits(weights, line):
    total = weights["constant"] + sum(weights[name] * line["features"][name] for name in FACTS)
    return 1 / (1 + math.exp(-total))


def told(weights, lines):
    """`fits` of what can be done, and of what nothing does."""
    kinds = [kind for kind in ["none", "near"] if any(line["kind"] == kind for line in lines)][:1]
    return [[fits(weights, line) for line in lines if line["kind"] in some] for some in (["possible"], kinds)]


def below(values, threshold):
    return sum(value < threshold for value in values) / len(values)


def highest(sets):
    """The highest threshold at which no more than REFUSED of what can be done is refused, on average over the sets."""

    def refused(threshold):
        of_sets = [sum(below(values, threshold) for values in files) / len(files) for files in sets]
        return sum(of_sets) / len(of_sets)

    return max(step / 100 for step in range(100) if refused(step / 100) <= REFUSED)


def judge(possible, nothing, threshold):
    wins = sum((high > low) + (high == low) / 2 for high in possible for low in nothing)
    return (
        f"told apart {wins / (len(possible) * len(nothing)):.3f}, "
        f"refused {below(possible, threshold):.3f} and {below(nothing, threshold):.3f}"
    )


def write(weights):
    """In place of the group as it is, which is the last."""
    text = WEIGHTS.read_text()
    WEIGHTS.write_text(text[: text.index('  "fits"')] + f'  "fits": {{ {json.dumps(weights)[1:-1]} }}\n}}\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="SET[-VARIANT].jsonl")
    parser.add_argument("--judge", nargs="+", type=Path, default=[], metavar="FILE.jsonl", help="not for fitting")
    parser.add_argument("--write", action="store_true", help=f"put the weights into {WEIGHTS.name}")
    arguments = parser.parse_args()
    files = {path: lines for path in arguments.files if (lines := load(path))}
    sets, left_out = {}, {}
    for name in dict.fromkeys(map(labelled_set, files)):
        others = regression([lines for path, lines in files.items() if labelled_set(path) != name])
        own = {path: told(others, lines) for path, lines in files.items() if labelled_set(path) == name}
        sets[name] = [possible for possible, _ in own.values()]
        left_out |= own
    threshold = highest(sets.values())
    for path, pair in left_out.items():
        print(f"{path.stem}, fitted on the other sets: {judge(*pair, threshold)}")
    weights = regression(list(files.values()))
    for path in arguments.judge:
        print(f"{path.stem}, not fitted on: {judge(*told(weights, load(path)), threshold)}")
    print(f"say that nothing fits below {threshold:.2f}")
    print(json.dumps(weights))
    if arguments.write:
        write(weights)


if __name__ == "__main__":
    main()
