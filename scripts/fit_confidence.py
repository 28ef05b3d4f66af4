#!/usr/bin/env python3
"""Fits the confidence's weights in models/ranking.json: a logistic regression over a few facts of a ranking.

Each file is what `orchestrator eval --evidence FILE` wrote for one labelled set, once or several times (without
and with examples). All files count the same, however many queries they have, and in each of them tasks that
nothing fits count for a tenth: about what people ask in vain. Printed are the weights fitted on all; for each file
how well they do on it when fitted on the other sets: expected calibration error (10 equal-width bins, over tasks
that can be done, all servers there), and how well the confidence tells right from wrong; and the confidence below
which it costs least to say that nothing fits.

Without --figure only the standard library is used; the fit is by Newton's method with a small ridge, so it has one
answer and needs no seed.
"""

import argparse
import json
import math
from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent.parent / "models" / "ranking.json"
RIDGE = 1.0
# Share of the tasks that nothing fits.
IN_VAIN = 0.1
# Facts that speak against a tool. Each weighs the log of how much more often it stands against the first tool where
# nothing fits than against a right one. A joint fit would leave them next to nothing: tasks that nothing fits are made
# here by leaving servers out, and most of them are told by their cosines already. What people ask in vain is near to
# what some server does, and there the objections tell.
OBJECTIONS = ["otherService", "otherAction"]
# What it costs to say that nothing fits when something does, where showing a tool that does not fit costs 1: the tool is
# only among the nearest, and many a model gives up there, against one more turn of it.
WITHHELD = 5


def load(path, names):
    with open(path) as lines:
        found = [json.loads(line) for line in lines]
    # Tasks beside the servers that would do are for fit_fits.py: another tool there may do as well.
    found = [line for line in found if line["kind"] != "near"]
    return [line | {"features": [line["features"][name] for name in names]} for line in found]


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


def shares(lines):
    """How much each line counts: all of them together for 100."""
    possible = sum(line["possible"] for line in lines)
    for line in lines:
        yield line, 100 * ((1 - IN_VAIN) / possible if line["possible"] else IN_VAIN / (len(lines) - possible))


def objections(sets, names):
    """The weights of the objections, by their place among the names."""
    lines = [line for lines in sets for line in lines]
    weights = {}
    for place in map(names.index, OBJECTIONS):
        right = [line["features"][place] for line in lines if line["right"]]
        nothing = [line["features"][place] for line in lines if not line["possible"]]
        rates = [(sum(facts) + 0.5) / (len(facts) + 1) for facts in (right, nothing)]
        weights[place] = math.log(rates[0] / rates[1])
    return weights


def fit(sets, names):
    """Weights, the constant last. Each file weighs as much as 100 queries."""
    size = len(names) + 1
    fixed = objections(sets, names)
    weights = [fixed.get(place, 0.0) for place in range(size)]
    for _ in range(50):
        gradient = [-RIDGE * weight for weight in weights[:-1]] + [0.0]
        hessian = [[RIDGE if row == column and row < size - 1 else 0.0 for column in range(size)] for row in range(size)]
        for lines in sets:
            for line, share in shares(lines):
                values = [*line["features"], 1.0]
                chance = probability(weights, line["features"])
                for row in range(size):
                    gradient[row] += share * (line["right"] - chance) * values[row]
                    for column in range(size):
                        hessian[row][column] += share * chance * (1 - chance) * values[row] * values[column]
        for place in fixed:
            gradient[place] = 0.0
            hessian[place] = [float(place == column) for column in range(size)]
        step = solve(hessian, gradient)
        weights = [weight + change for weight, change in zip(weights, step)]
        if max(map(abs, step)) < 1e-9:
            break
    return weights


def confidences(weights, lines):
    """Confidence and whether it was right, of the tasks that can be done, with all servers there."""
    possible = [line for line in lines if line["possible"] and line["share"] == 100]
    return [(probability(weights, line["features"]), line["right"]) for line in possible]


def calibration_error(told):
    """Expected calibration error over 10 bins of equal width."""
    bins = [[0.0, 0.0] for _ in range(10)]
    for chance, right in told:
        place = bins[min(int(chance * 10), 9)]
        place[0] += chance
        place[1] += right
    return sum(abs(chance - right) for chance, right in bins) / len(told)


def judge(told):
    """Calibration error; mean confidence; share that is right; probability that a right one has the higher one."""
    rights = [chance for chance, right in told if right]
    wrongs = [chance for chance, right in told if not right]
    wins = sum((high > low) + (high == low) / 2 for high in rights for low in wrongs)
    mean = sum(chance for chance, _ in told) / len(told)
    return (
        f"ECE {calibration_error(told):.3f}, confidence {mean:.3f}, right {len(rights) / len(told):.3f}, "
        f"told apart {wins / (len(rights) * len(wrongs)):.3f}"
    )


def labelled_set(path):
    return path.stem.split("-")[0]


def write(weights):
    """One line a group, as it is."""
    groups = json.loads(WEIGHTS.read_text()) | {"confidence": weights}
    lines = [f"  {json.dumps(name)}: {{ {json.dumps(group)[1:-1]} }}" for name, group in groups.items()]
    WEIGHTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def draw(judged, file):
    """Reliability: how often the first tool is right, over the confidence that was told."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "confidence", "font.size": 10, "svg.fonttype": "none"})
    from matplotlib import pyplot

    rows = -(-len(judged) // 4)
    figure, grid = pyplot.subplots(rows, 4, figsize=(12, 3.1 * rows), sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(judged):]:
        axes.set_visible(False)
    for axes, (title, told) in zip(grid.flat, judged.items()):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
        for low in range(10):
            inside = [(chance, right) for chance, right in told if min(int(chance * 10), 9) == low]
            if inside:
                mean = sum(chance for chance, _ in inside) / len(inside)
                right = sum(right for _, right in inside) / len(inside)
                # One standard error of a share.
                error = math.sqrt(mean * (1 - mean) / len(inside))
                axes.errorbar(mean, right, error, color="C0", marker="o", markersize=3 + math.sqrt(len(inside)))
        axes.set_title(f"{title}\n{len(told)} tasks, ECE {calibration_error(told):.3f}", fontsize=9)
        axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.04))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("confidence")
    for axes in grid[:, 0]:
        axes.set_ylabel("share that is right")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def cheapest(told):
    """The confidence below which to say that nothing fits, where that costs least."""

    def cost(least):
        withheld = sum(WITHHELD * share for chance, right, share in told if right and chance < least)
        return withheld + sum(share for chance, right, share in told if not right and chance >= least)

    return min((step / 100 for step in range(100)), key=cost)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="SET[-VARIANT].jsonl")
    parser.add_argument("--judge", nargs="+", type=Path, default=[], metavar="FILE.jsonl", help="not for fitting")
    parser.add_argument("--figure", type=Path, metavar="FILE.svg", help="draw the reliability of each (matplotlib)")
    parser.add_argument("--write", action="store_true", help=f"put the weights into {WEIGHTS.name}")
    arguments = parser.parse_args()
    names = [name for name in json.loads(WEIGHTS.read_text())["confidence"] if name != "constant"]
    files = {path: load(path, names) for path in arguments.files}
    judged, all_told = {}, []
    for path, lines in files.items():
        others = fit([other for its, other in files.items() if labelled_set(its) != labelled_set(path)], names)
        judged[path.stem] = confidences(others, lines)
        all_told += [(probability(others, line["features"]), line["right"], share) for line, share in shares(lines)]
        print(f"{path.stem}, fitted on the other sets: {judge(judged[path.stem])}")
    weights = fit(list(files.values()), names)
    for path, lines in files.items():
        print(f"{path.stem}, fitted on all: {judge(confidences(weights, lines))}")
    for path in arguments.judge:
        judged[path.stem] = confidences(weights, load(path, names))
        print(f"{path.stem}, not fitted on: {judge(judged[path.stem])}")
    print(f"say that nothing fits below {cheapest(all_told):.2f}")
    named = {name: round(weight, 3) for name, weight in zip([*names, "constant"], weights)}
    print(json.dumps(named))
    if arguments.write:
        write(named)
    if arguments.figure:
        draw(judged, arguments.figure)


if __name__ == "__main__":
    main()
