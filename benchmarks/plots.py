"""Draw the plots of ``docs/performance.md`` from the stored figures.

python benchmarks/plots.py [--format png] [--to DIRECTORY]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from contenders import OURS, PLAIN
from measuring import Table
from results import DIRECTORY, tables_of

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter, ScalarFormatter

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "plots"
OURS_COLOUR, OTHERS, SECOND = "#c8102e", "#8a97a6", "#4d79a8"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "calls-in-progress-async",
    "svg.fonttype": "none",
    "figure.facecolor": "white",
}


def find(directory: Path) -> Any:
    """Plot the CPU time of a find as a share of plain aiohttp's."""
    table = tables_of("find", directory)[0]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.9), sharey=True)
    for axis, calls in zip(axes, ("1 call", "200 calls"), strict=True):
        _shares(axis, table, f"{calls}, 64 at once", limit=2.6)
        axis.set_title(f"{calls.replace('1 call', 'one call')} in the body, 64 at once")
    axes[1].legend(loc="upper right")
    axes[0].invert_yaxis()
    return figure


def _shares(axis: Any, table: Table, workload: str, limit: float) -> None:
    rows = list(table.cells)
    for offset, (loop, shade) in enumerate((("asyncio", 1.0), ("uvloop", 0.55))):
        shares = [table.share(row, PLAIN, f"{loop}, {workload}") for row in rows]
        places = [place + (offset - 0.5) * 0.38 for place in range(len(rows))]
        colours = [OURS_COLOUR if row == OURS else OTHERS for row in rows]
        axis.barh(places, [min(share, limit) for share in shares], height=0.36, color=colours, alpha=shade, label=loop)
        for place, share in zip(places, shares, strict=True):
            beyond = share > limit
            box = {"facecolor": "none" if beyond else "white", "edgecolor": "none", "pad": 0.3}
            axis.annotate(
                f"{share:.2f} >" if beyond else f"{share:.2f}",
                (min(share, limit), place), (-3 if beyond else 3, 0), textcoords="offset points",
                va="center", ha="right" if beyond else "left", fontsize=7, bbox=box,
            )  # fmt: skip
    axis.axvline(0.9, color=OURS_COLOUR, linewidth=0.8, linestyle="--", label="target", zorder=0)
    axis.set(yticks=range(len(rows)), yticklabels=rows, xlim=(0, limit), xlabel="CPU time, plain aiohttp + orjson = 1")


def decoding(directory: Path) -> Any:
    """Plot microseconds per call by the size of the body."""
    table = tables_of("decoding", directory)[0]
    figure, axis = plt.subplots(figsize=(8, 4.2))
    grey = iter(("#5b6775", "#8a97a6", "#2f6f9f", "#7a5195", "#3a8f5c", "#d08c30"))
    for row in table.cells:
        points = [(int(column.split()[0].replace(",", "")), table.median(row, column)) for column in table.cells[row]]
        mine = row.startswith("ours")
        dash = {True: "-", False: "--"}[row == "ours: records" or not mine]
        colour = OURS_COLOUR if mine else next(grey)
        if "bad field" in row:
            dash = ":"
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, linestyle=dash, label=row,
                  linewidth=2 if row == "ours: records" else 1.2)  # fmt: skip
    _logarithmic(axis)
    axis.set(xlabel="calls in the body", ylabel="us a call", title="From bytes to records")
    axis.legend(bbox_to_anchor=(1.01, 1), loc="upper left")
    return figure


def _logarithmic(axis: Any, both: bool = True) -> None:
    if both:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.set_yscale("log")
    axis.grid(visible=True, which="major", color="#e4e8ec", linewidth=0.7)


def scaling(directory: Path) -> Any:
    """Plot time and memory by number, beside a straight line."""
    tables = tables_of("scaling", directory)
    figure, axes = plt.subplots(2, 3, figsize=(11, 6))
    for place, table in enumerate(tables):
        axis = axes[place % 2][place // 2]
        for row, colour in zip(table.cells, (OURS_COLOUR, SECOND), strict=False):
            numbers = [int(column) for column in table.cells[row]]
            figures = [table.median(row, str(number)) for number in numbers]
            axis.plot(numbers, figures, marker="o", markersize=3, color=colour, label=row)
            straight = [figures[-1] * number / numbers[-1] for number in numbers]
            axis.plot(numbers, straight, color=colour, linestyle=":", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(visible=True, color="#e4e8ec", linewidth=0.7)
        axis.set(title=table.title, ylabel=table.unit)
        axis.legend(loc="upper left", fontsize=7)
    figure.text(0.01, 0.005, "Dotted: a straight line through the last point.", fontsize=8, color="#5b6775")
    return figure


def latency(directory: Path) -> Any:
    """Plot percentiles of a find, alone and beside a watch."""
    table = tables_of("latency", directory)[0]
    figure, axis = plt.subplots(figsize=(7, 3.2))
    colours = (OTHERS, SECOND, OURS_COLOUR)
    for offset, (row, colour) in enumerate(zip(table.cells, colours, strict=True)):
        places = [place + (offset - 1) * 0.27 for place in range(len(table.columns))]
        heights = [table.median(row, column) for column in table.columns]
        axis.bar(places, heights, width=0.25, color=colour, label=row)
        for place, height in zip(places, heights, strict=True):
            axis.annotate(f"{height:.2g}", (place, height), (0, 2), textcoords="offset points", ha="center", fontsize=7)
    axis.set(xticks=range(len(table.columns)), xticklabels=table.columns, ylabel="ms", title="How long a find takes")
    axis.legend(loc="upper left")
    return figure


def ticks(directory: Path) -> Any:
    """Plot a poll as a share of plain aiohttp's, by the share of changed calls."""
    (table,) = tables_of("ticks", directory)
    figure, axis = plt.subplots(figsize=(7, 3.2))
    ratios = {each.claim: each for each in table.verdicts}
    for offset, (kind, colour) in enumerate((("events taken", OURS_COLOUR), ("events read", SECOND))):
        for place, column in enumerate(table.columns):
            verdict = ratios[f"{kind} / plain, {column}"]
            label = kind if place == 0 else None
            where = place + (offset - 0.5) * 0.38
            axis.bar(where, verdict.value, width=0.36, color=colour, label=label)
            text = f"{verdict.value:.2f}"
            axis.annotate(text, (where, verdict.value), (0, 2), textcoords="offset points", ha="center", fontsize=7)
            if verdict.target:
                target = "target" if place == 0 else None
                axis.hlines(verdict.target, where - 0.2, where + 0.2, color="black", linewidth=1.2, label=target)
    axis.axhline(1, color=OTHERS, linewidth=0.8, linestyle="--")
    axis.set(xticks=range(len(table.columns)), xticklabels=table.columns, ylabel="CPU, plain = 1")
    axis.set_title("One poll of 200 calls")
    axis.legend(loc="upper left")
    return figure


def limiter(directory: Path) -> Any:
    """Plot the token bucket beside others."""
    wanted = tables_of("limiter", directory)[:2]
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.8))
    for axis, table in zip(axes, wanted, strict=True):
        rows = list(table.cells)
        figures = [table.median(row, "asyncio") for row in rows]
        colours = [OURS_COLOUR if row == "ours" else OTHERS for row in rows]
        axis.barh(rows, figures, color=colours, height=0.6)
        for row, value in zip(rows, figures, strict=True):
            text = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
            axis.annotate(text, (value, row), (3, 0), textcoords="offset points", va="center", fontsize=7)
        axis.invert_yaxis()
        axis.set_title(table.title, fontsize=9)
        axis.margins(x=0.15)
        axis.ticklabel_format(axis="x", style="plain")
        axis.locator_params(axis="x", nbins=4)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure


PLOTS: dict[str, Callable[[Path], Any]] = {
    "find": find, "decoding": decoding, "scaling": scaling, "latency": latency, "ticks": ticks, "limiter": limiter,
}  # fmt: skip


def draw(directory: Path = DIRECTORY, to: Path = DOCUMENTATION, kind: str = "svg") -> Iterator[Path]:
    """Draw every plot with stored figures."""
    to.mkdir(parents=True, exist_ok=True)
    for name, plot in PLOTS.items():
        if not tables_of(name, directory):
            continue
        with plt.rc_context(STYLE):
            figure = plot(directory)
            figure.tight_layout()
            path = to / f"{name}.{kind}"
            figure.savefig(path, dpi=130, metadata={"Date": None} if kind == "svg" else None)
            plt.close(figure)
        yield path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=["svg", "png"], default="svg")
    parser.add_argument("--from", dest="directory", type=Path, default=DIRECTORY)
    parser.add_argument("--to", type=Path, default=DOCUMENTATION)
    options = parser.parse_args()
    for drawn in draw(options.directory, options.to, options.format):
        print(drawn)
