"""Figures and tables as people read them. Knows nothing of what is measured."""


def share(values, part):
    """The value below which this part of sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * part))] if values else float("nan")


def number(value, digits=0):
    return "-" if value is None else f"{value:.{digits}f}"


def shortened(text, length):
    """On one line, and no longer than that."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def in_words(counts):
    """A Counter, the largest first."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def print_table(heads, rows):
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    for row in [heads, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def print_markdown(heads, rows, right=()):
    """`right` are the heads of columns with figures."""
    lines = [heads, ["---:" if head in right else "---" for head in heads]]
    for row in [*lines, *rows]:
        print("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |", flush=True)
