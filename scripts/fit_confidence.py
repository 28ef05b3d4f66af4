#!/usr/bin/env python3
"""Fits the weights of src/router/confidence.rs: a logistic regression over a few facts of a ranking.

usage: fit_confidence.py SET[-VARIANT].jsonl ...

Each file is what `orchestrator eval --evidence FILE` wrote for one labelled set, once or several times (without
and with examples). All files count the same, however many queries they have, and in each of them tasks that
nothing fits count for a tenth: about what people ask in vain. Printed are the weights fitted on all, and for
each file how well they do on it when fitted on the other sets: expected calibration error (10 equal-width bins,
over tasks that can be done, all servers there), and how well the confidence tells right from wrong.

Only the standard library is used; the fit is by Newton's method with a small ridge, so it has one
answer and needs no seed.
"""

import json
import math
import sys
from pathlib import Path

RIDGE = 1.0
# Share of the tasks that nothing fits.
IN_VAIN = 0.1


def load(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def probability(weights, features):
    total = sum(weight * value for weight, value in zip(weights, [*features, 1.0]))
    return 1 / (1 + math.exp(-total))


def solve(matrix, vector):
    """Gaussian elimination with pivoting."""
    size = len(vector)
    rows = [row[:] + [value] for row, value in zip(matrix, vector)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column])]
    return [rows[index][size] / rows[index][index] for index in range(size)]


def fit(sets):
    """Weights, the constant last. Each file weighs as much as 100 queries."""
    size = len(sets[0][0]["features"]) + 1
    weights = [0.0] * size
    for _ in range(50):
        gradient = [-RIDGE * weight for weight in weights[:-1]] + [0.0]
        hessian = [[RIDGE if row == column and row < size - 1 else 0.0 for column in range(size)] for row in range(size)]
        for lines in sets:
            possible = sum(line["possible"] for line in lines)
            for line in lines:
                share = 100 * ((1 - IN_VAIN) / possible if line["possible"] else IN_VAIN / (len(lines) - possible))
                values = [*line["features"], 1.0]
                chance = probability(weights, line["features"])
                for row in range(size):
                    gradient[row] += share * (line["right"] - chance) * values[row]
                    for column in range(size):
                        hessian[row][column] += share * chance * (1 - chance) * values[row] * values[column]
        step = solve(hessian, gradient)
        weights = [weight + change for weight, change in zip(weights, step)]
        if max(map(abs, step)) < 1e-9:
            break
    return weights


def judge(weights, lines):
    """Calibration error; mean confidence; share that is right; probability that a right one has the higher one."""
    bins = [[0.0, 0.0] for _ in range(10)]
    told = [(probability(weights, line["features"]), line["right"]) for line in lines if line["possible"] and line["share"] == 100]
    for chance, right in told:
        place = bins[min(int(chance * 10), 9)]
        place[0] += chance
        place[1] += right
    error = sum(abs(chance - right) for chance, right in bins) / len(told)
    rights = [chance for chance, right in told if right]
    wrongs = [chance for chance, right in told if not right]
    wins = sum((high > low) + (high == low) / 2 for high in rights for low in wrongs)
    pairs = len(rights) * len(wrongs)
    mean = sum(chance for chance, _ in told) / len(told)
    return f"ECE {error:.3f}, confidence {mean:.3f}, right {len(rights) / len(told):.3f}, told apart {wins / pairs:.3f}"


def labelled_set(path):
    return Path(path).stem.split("-")[0]


def main(paths):
    files = {path: load(path) for path in paths}
    for path, lines in files.items():
        others = fit([other for its, other in files.items() if labelled_set(its) != labelled_set(path)])
        print(f"{path}: fitted on the other sets: {judge(others, lines)}")
    weights = fit(list(files.values()))
    for path, lines in files.items():
        print(f"{path}: fitted on all: {judge(weights, lines)}")
    print("weights ", [round(weight, 3) for weight in weights[:-1]], " constant", round(weights[-1], 3))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
