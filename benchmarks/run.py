"""Run every benchmark in turn, then write the plots and tables of the documentation.

    python benchmarks/run.py [--quick] [NAME ...]

Figures go to ``benchmarks/results``. A quick run keeps its figures elsewhere and leaves the documentation alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import page
import plots
import results

BENCHMARKS = {
    "find": [], "organizations": [], "stages": [], "decoding": [], "micro": [], "hooks": [], "limiter": [], "ticks": [],
    "watch_many": ["--uvloop"], "scaling": [], "latency": [], "startup": [], "story": [], "wallboard_page": [],
    "fleet": [],
}  # fmt: skip
QUICK = results.DIRECTORY / "quick"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short rounds; leaves the documentation alone")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}; all by default")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"NAME must be one of {', '.join(BENCHMARKS)}, got {', '.join(sorted(unknown))}")
    directory = QUICK if options.quick else results.DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    for name in options.names or BENCHMARKS:
        print(f"\n=== {name}", flush=True)
        command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *BENCHMARKS[name]]
        command += ["--json", str(directory / f"{name}.json"), *["--quick"] * options.quick]
        subprocess.run(command, check=True)
    for drawn in plots.draw(directory, directory / "plots" if options.quick else plots.DOCUMENTATION):
        print(drawn)
    if not options.quick:
        page.write()


if __name__ == "__main__":
    main()
