"""Read the stored figures of every benchmark as tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ticks
from measuring import Table, Verdict, load

DIRECTORY = Path(__file__).with_name("results")


def tables_of(name: str, directory: Path = DIRECTORY) -> list[Table]:
    """Return the tables of one benchmark, or none if it has not run."""
    path = directory / f"{name}.json"
    if not path.exists():
        return []
    if name in _READERS:
        return _READERS[name](json.loads(path.read_text()))
    return load(path)[1]


def _limiter(rows: list[dict[str, Any]]) -> list[Table]:
    tables: dict[str, Table] = {}
    for row in rows:
        title, _, unit = f"{row['row'][0].upper()}{row['row'][1:]}".rpartition(", ")
        table = tables.setdefault(row["row"], Table(title, unit) if title else Table(unit, "as named"))
        for contender, figures in row["figures"].items():
            for figure in figures:
                table.add(contender, row["loop"], figure)
        if row["target"] is not None:
            more = "1/s" in row["row"] or "%" in row["row"]
            share = " / aiolimiter" if row["target"] < 10 else ""
            table.verdicts.append(Verdict(f"ours{share}, {row['loop']}", row["ours"], row["target"], more))
    return list(tables.values())


def _ticks(written: dict[str, dict[str, dict[str, float]]]) -> list[Table]:
    cpu = Table("One poll of 200 calls", "us a poll")
    for share, contenders in written.items():
        column = f"{share} changed"
        for name, figures in contenders.items():
            row = "plain: aiohttp + orjson" if name == "plain" else f"ours, {name}"
            # The file has only these three; median and spread are the same.
            for figure in (figures["low"], figures["us"], figures["high"]):
                cpu.add(row, column, figure)
        for name, target in (("events taken", ticks.TARGETS[share]), ("events read", None)):
            cpu.verdicts.append(Verdict(f"{name} / plain, {column}", contenders[name]["ratio"], target))
    return [cpu]


def _watch_many(written: list[dict[str, Any]]) -> list[Table]:
    table = Table(
        "A watch of 10,000 organizations every 5 s, five calls each, uvloop", "as named", "Sampled over time."
    )
    for figures in written:
        samples, stats = figures["samples"], figures["stats"]
        changed = 1 - stats["unchanged"] / stats["requests"]
        row = f"{changed:.0%} of the responses changed".replace("%", " %")
        for sample in samples:
            for name, figure in sample.items():
                if name != "seconds":
                    table.add(row, {"cpu": "share of a core"}.get(name, name), figure)
        target = 0.5 if changed < 0.05 else None
        table.verdicts.append(Verdict(f"share of a core, {row}", table.median(row, "share of a core"), target))
        table.verdicts.append(Verdict(f"kB an organization, at the end, {row}", samples[-1]["kB an organization"], 16))
        faults = sum(figures["faults"].values())
        table.verdicts.append(Verdict(f"events that differ from the server's log, {row}", faults, 0))
    return [table]


def _fleet(written: dict[str, Any]) -> list[Table]:
    sizes = {(each["organizations"], each["interval"], each["workers"]) for each in written["cases"].values()}
    about = "; ".join(f"{a:,} organizations every {b:g} s, {c} workers" for a, b, c in sorted(sizes, reverse=True))
    table = Table("A fleet through its faults", "s", about)
    for each in written["cases"].values():
        for column in ("longest gap", "detection p50", "detection p99"):
            if column in each["figures"]:
                table.add(each["title"], column, each["figures"][column])
        for verdict in each["verdicts"]:
            claim = f"{each['title']}: {verdict['claim']}"
            table.verdicts.append(Verdict(**{**verdict, "claim": claim}))
    return [table]


_READERS: dict[str, Any] = {"limiter": _limiter, "ticks": _ticks, "watch_many": _watch_many, "fleet": _fleet}
