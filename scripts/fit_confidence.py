#!/usr/bin/env python3
"""Fits the weights of src/router/confidence.rs: a logistic regression over a few facts of a ranking.

usage: fit_confidence.py EVIDENCE.jsonl ...

Each file is what `orchestrator eval --evidence FILE` wrote for one labelled set. All sets count the
same, however many queries they have. Printed are the weights fitted on all sets, and for each set how
well they do on it when fitted on the others: expected calibration error (10 equal-width bins, over
queries that can be done) and the share that is right, which a constant could not beat by much.

Only the standard library is used; the fit is by Newton's method with a small ridge, so it has one
answer and needs no seed.
"""

import json
import math
import sys

RIDGE = 1.0


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
    """Weights, the constant last. Each set weighs as much as 100 queries."""
    size = len(sets[0][0]["features"]) + 1
    weights = [0.0] * size
    for _ in range(50):
        gradient = [-RIDGE * weight for weight in weights[:-1]] + [0.0]
        hessian = [[RIDGE if row == column and row < size - 1 else 0.0 for column in range(size)] for row in range(size)]
        for lines in sets:
            share = 100 / len(lines)
            for line in lines:
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


def calibration_error(weights, lines):
    bins = [[0.0, 0.0] for _ in range(10)]
    possible = [line for line in lines if line["possible"]]
    for line in possible:
        chance = probability(weights, line["features"])
        place = bins[min(int(chance * 10), 9)]
        place[0] += chance
        place[1] += line["right"]
    return sum(abs(chance - right) for chance, right in bins) / len(possible)


def main(paths):
    sets = [load(path) for path in paths]
    for path, held_out in zip(paths, sets):
        others = fit([lines for lines in sets if lines is not held_out])
        right = sum(line["right"] for line in held_out) / len(held_out)
        chances = [probability(others, line["features"]) for line in held_out]
        print(
            f"{path}: left out of the fit, ECE {calibration_error(others, held_out):.3f}, "
            f"mean confidence {sum(chances) / len(chances):.3f}, right {right:.3f}"
        )
    weights = fit(sets)
    for path, lines in zip(paths, sets):
        print(f"{path}: fitted on all, ECE {calibration_error(weights, lines):.3f}")
    print("weights ", [round(weight, 3) for weight in weights[:-1]], " constant", round(weights[-1], 3))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
