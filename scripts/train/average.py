#!/usr/bin/env python3
"""Averages the weights of models that were trained from the same start: better than each on unseen data.

usage: average.py STOCK OUT MODEL MODEL …
"""

import sys
from pathlib import Path

import torch

from encoder import Encoder, save


def main(stock, out, *models):
    states = [Encoder(model).state() for model in models]
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    save(mean, stock, out)
    print(f"{out}: the average of {len(models)} models")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
