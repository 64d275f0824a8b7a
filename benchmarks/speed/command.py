"""This library timed beside its peers: ``python -m benchmarks.speed [--parts ...] [...]``.

Layers stand beside ``torch.nn.RNN`` with ReLU, those with a matrix for each token beside a loop
under autograd, optimizers beside geoopt's Adam with its QR retraction, retractions beside geoopt's
QR, throughput beside the best of ``torch.mm``: as ratios within one run, for the candidates take
turns, of one call or as many as fit in 20 ms, and what else the machine does falls on all of them.
Peers of other packages: pip install -c constraints.txt -e ".[bench,peers]". All of it takes some 25
minutes; --parts and --only choose.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.system import ram
from benchmarks.system.atomic_files import WriteError, write_text

from .cases import layers
from .environment import describe_header, make_header
from .sizes import parse_size
from .suites import SUITES, Suite
from .table import MeasuredTable, SpeedPlan, SpeedTable, name_contains
from .text import markdown_text, terminal_text

FIGURE_FORMATS = (".pdf", ".png", ".svg")
SuiteTable = tuple[str, Suite, SpeedTable]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of the chosen parts; 1 if something failed or cannot be written."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _check_options(parser, options)
    plan = SpeedPlan(
        device=torch.device(options.device),
        sizes=tuple(options.sizes) if options.sizes else None,
        quick=options.quick,
        threads=options.threads,
        repeats=options.repeats,
    )
    torch.set_num_threads(plan.threads)
    work = [(name, SUITES[name], t) for name in options.parts for t in SUITES[name].tables(plan)]
    if options.only:
        work = _select_tables(parser, work, tuple(options.only))
    if any(part.sized for _, part, _ in work):
        for line in layers.describe_left_out(plan.device):
            print(line, file=sys.stderr)
    about = make_header(plan)
    print(describe_header(about))
    measured: list[MeasuredTable] = []
    try:
        for k, (name, part, table) in enumerate(work, 1):
            measured.append(_measure_table(name, part, table, plan, f"{k}/{len(work)}"))
            print(
                f"\n{(markdown_text if options.markdown else terminal_text)(measured[-1])}",
                flush=True,
            )
            if options.json:  # after each table: most of an hour may follow
                write_text(options.json, _to_json(about, measured))
        if options.plot:
            from .figure import plot_ratios  # without which it starts a second sooner

            plot_ratios(options.plot, about, measured)
    except WriteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 1 if any(table.failed for table in measured) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parts", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="candidates whose name contains one of these"
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--sizes",
        nargs="+",
        type=parse_size,
        metavar="T,B,I,H",
        help="of the layers: 1000,128,10,190",
    )
    sizes.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7, help="turns of each candidate")
    parser.add_argument("--markdown", action="store_true", help="print tables of markdown")
    parser.add_argument("--json", type=Path, help="also write every measured value to this file")
    parser.add_argument(
        "--plot", type=Path, help=f"also draw the ratios: {', '.join(FIGURE_FORMATS)}"
    )
    return parser


def _check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse, before anything is measured, what cannot be done."""
    if options.threads < 1 or options.repeats < 1:
        parser.error("--threads and --repeats must be at least 1")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device cuda: torch {torch.__version__} sees no GPU here")
    if options.sizes and not any(SUITES[name].sized for name in options.parts):
        parser.error(f"--sizes are of layers, which {', '.join(options.parts)} do not have")
    has = ram.total_memory(torch.device(options.device))
    for size in options.sizes or ():
        needed = ram.min_memory(size.H * (size.H + size.I), size.T * size.B * (size.I + size.H))
        if needed > has:
            parser.error(
                f"--sizes: {size} needs {ram.format_gigabytes(needed)} at least, "
                f"and there are {ram.format_gigabytes(has)}"
            )
    if options.plot and options.plot.suffix not in FIGURE_FORMATS:
        parser.error(f"--plot must end in one of {', '.join(FIGURE_FORMATS)}, got {options.plot}")
    for name in ("json", "plot"):
        path = getattr(options, name)
        if path and not path.absolute().parent.is_dir():
            parser.error(f"--{name}: there is no folder {path.parent}")


def _select_tables(
    parser: argparse.ArgumentParser, work: list[SuiteTable], wanted: tuple[str, ...]
) -> list[SuiteTable]:
    """The tables with those candidates that are wanted, without the tables that have none."""
    names = list(dict.fromkeys(name for *_, table in work for name in table.candidates))
    for pattern in wanted:
        if not any(name_contains(name, (pattern,)) for name in names):
            parser.error(f"--only: no name contains {pattern!r}; there are: {'; '.join(names)}")
    return [
        (name, part, table.only(wanted))
        for name, part, table in work
        if any(name_contains(candidate, wanted) for candidate in table.candidates)
    ]


def _measure_table(
    name: str, part: Suite, table: SpeedTable, plan: SpeedPlan, place: str
) -> MeasuredTable:
    """Measure a table, while a progress bar says which candidate has its turn."""
    turns = part.rounds(plan) * len(table.candidates)
    with tqdm(total=turns, postfix=table.title, disable=None, leave=False, unit=" turns") as bar:

        def on_progress(candidate: str) -> None:
            bar.update()
            bar.set_description(f"{place} {name}, {candidate}")

        values, failed = part.measure(table, plan, on_progress)
    return MeasuredTable(name, table.title, part.unit, table.references, table.own, values, failed)


def _to_json(about: dict[str, Any], measured: list[MeasuredTable]) -> str:
    tables = [
        {
            "part": table.part,
            "title": table.title,
            "unit": table.unit.kept,
            "reference": table.reference,
            "values": table.values,
            "failed": table.failed,
        }
        for table in measured
    ]
    return json.dumps({"header": about, "tables": tables}, indent=2, ensure_ascii=False) + "\n"
