"""What becomes of a run when things go wrong: ``python -m tests.faults [--parts ...]``.

Runs are killed at random moments, checkpoints are damaged, disks fill up, runs are started twice
and with nonsense. Shown is what was done, how often, and what came out; what was not as expected is
listed below the table, with the folder that shows it, and the exit code is 1 then. With the right
to mount a disk (root, or ``unshare -rm python -m tests.faults``) a disk is really filled;
without it a limit to the size of files stands in.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from tests.faults.bench import Bench

from . import corpora, damage, full, kill, nonsense, pairs


class Part(NamedTuple):
    """A measurement, how often it is made, and what is done so often."""

    measure: Callable[[Bench, int], None]
    times: int
    what: str


PARTS = {
    "kill": Part(kill.measure, 200, "kills"),
    "damage": Part(damage.measure, 1000, "damages"),
    "full": Part(full.measure, 20, "points"),
    "pairs": Part(pairs.measure, 50, "pairs"),
    "nonsense": Part(nonsense.measure, len(nonsense.NONSENSE), "nonsense"),
    "corpora": Part(corpora.measure, len(corpora.BAD), "corpora"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of the chosen parts; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    for name, part in PARTS.items():
        parser.add_argument(
            f"--{part.what}", type=int, default=part.times, help=f"how many in the part {name}"
        )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--folder", type=Path, help="for the runs; a temporary one if not given")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    options = parser.parse_args(arguments)
    times = {name: getattr(options, PARTS[name].what) for name in options.parts}
    if min(times.values()) < 1:
        parser.error("every number must be at least 1")
    torch.set_num_threads(1)
    scratch = (options.folder or Path(tempfile.mkdtemp(prefix="faults-"))).resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    print(
        f"torch {torch.__version__}, {os.cpu_count()} cores, 1 thread a run, "
        f"seed {options.seed}, {time.strftime('%Y-%m-%d %H:%M')}\n"
        f"{'':<10}{'what was done':<62}{'times':>6}{'s':>7}  what came out"
    )
    report = []
    silent = not sys.stderr.isatty()
    with tqdm(total=sum(times.values()), leave=False, disable=silent) as bar:
        for name in options.parts:
            bench = Bench(scratch, options.seed, bar.update)
            bar.set_description(name)
            PARTS[name].measure(bench, times[name])
            for row in bench.rows:
                line = f"{name:<10}{row.what:<62}{row.times:>6}{row.seconds:>7.0f}  {row.came}"
                tqdm.write(line, file=sys.stdout)
                report.append({"part": name, **asdict(row)})
    broken = [told for row in report for told in row["broken"]]
    print(f"\n{len(broken)} expectations were broken" if broken else "\nall as expected")
    for told in broken:
        print(f"  {told}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if not any(scratch.iterdir()):
        scratch.rmdir()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
