"""The files of a run as the rows and the summary that W&B keeps of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.diagnostics.gradient_flow import PLOT_FLOOR, GradientFlow
from benchmarks.records.files import GRADIENTS, METRICS, SAMPLE
from benchmarks.records.record import VALIDATION, Record
from benchmarks.records.run import parse_lines, read_records
from benchmarks.tasks.task import Metric

Row = dict[str, Any]


def record_row(record: Record, benchmark: str) -> Row:
    """A record with an axis, and a speed, that belong to the runs of one benchmark alone."""
    step = int(record["step"])
    row: Row = {**record, f"{benchmark}/step": step}
    if record["seconds"] > 0:
        row[f"{benchmark}/steps_per_second"] = step / record["seconds"]
    return row


def flow_row(flow: GradientFlow, histogram: Callable[[list[float]], Any]) -> Row:
    """The numbers of a gradient flow, and histograms of its spectra."""
    row: Row = {f"flow/{name}": value for name, value in flow.numbers().items()}
    for name, values in (("spectrum", flow.spectrum), ("jacobian", flow.jacobian)):
        if values:
            powers = [math.log10(max(value, PLOT_FLOOR)) for value in values]
            row[f"flow/log10_{name}"] = histogram(powers)
    return row


def logged_rows(
    folder: Path,
    benchmark: str,
    histogram: Callable[[list[float]], Any],
    page: Callable[[str], Any],
) -> Iterator[tuple[int, Row]]:
    """Each step of a run and its row: the record, the gradient flow and the text, from the files.

    Args:
        folder: of the run.
        benchmark: its name.
        histogram: W&B's object for numbers.
        page: W&B's object for a text.
    """
    flows: dict[int, Row] = {}
    if (folder / GRADIENTS).exists():
        for fields in parse_lines((folder / GRADIENTS).read_text(encoding="utf-8"), GRADIENTS):
            flow = GradientFlow(**{name: fields[name] for name in GradientFlow._fields})
            flows[max(1, fields["step"])] = flow_row(flow, histogram)
    records = records_so_far(folder)
    for k, record in enumerate(records, 1):
        step = int(record["step"])
        row = record_row(record, benchmark) | flows.get(step, {})
        if k == len(records) and (folder / SAMPLE).exists():
            row["sample"] = page((folder / SAMPLE).read_text(encoding="utf-8"))
        yield step, row


def records_so_far(folder: Path) -> list[Record]:
    """The records of a run, none before its first step."""
    return read_records(folder) if (folder / METRICS).exists() else []


def summary_kinds(metrics: Mapping[str, Metric]) -> dict[str, str]:
    """What the summary keeps of each curve beside its last value: ``"min"`` or ``"max"``."""
    best = {"loss": "min"} | {
        name: "max" if metric.better == "higher" else "min" for name, metric in metrics.items()
    }
    validated = {f"{VALIDATION}{name}": which for name, which in best.items()}
    return {**best, **validated, "orthogonality_error": "max", "gradient_norm": "max"}


def best_and_last(records: Sequence[Record], kinds: Mapping[str, str]) -> dict[str, Row]:
    """The summary of each curve over the whole run; W&B's own takes a NaN for the least of all."""
    summary = {}
    for key, which in kinds.items():
        values = [record[key] for record in records if math.isfinite(record.get(key, math.nan))]
        if values:
            best = max(values) if which == "max" else min(values)
            summary[key] = {which: best, "last": values[-1]}
    return summary
