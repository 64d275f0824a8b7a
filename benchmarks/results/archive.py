"""The kept runs of an experiment in two files: a line for each run, a line for each record.

Both are JSON lines, compressed. A line names its run under ``run``; ``runs.jsonl.gz`` has the
descriptions with the resolved configurations, ``records.jsonl.gz`` the records, thinned. The
numbers that a summary needs every record for are those of the whole run; its description holds
them, and under ``thinned`` how many records stand for how many.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.records.files import THINNED
from benchmarks.records.record import VALIDATION, Record, from_json, to_json
from benchmarks.records.run import Run, describes_run, parse_lines, read_run
from benchmarks.runs.folder import read_metadata
from benchmarks.system import atomic_files

from .planned_runs import PlannedRun

RUNS, RECORDS = "runs.jsonl.gz", "records.jsonl.gz"
RUN = "run"  # the key of a line that names its run
MAX_RECORD_BYTES = 1_000_000  # of all records of an experiment, before they are compressed
SIGNIFICANT_DIGITS = 5
COMPRESSION_LEVEL = 9


def load_kept(folder: Path) -> dict[str, Run]:
    """The kept runs of an experiment by their names; the folder of each is its name alone.

    Args:
        folder: the experiment's.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one is damaged.
    """
    if not (folder / RUNS).is_file():
        return {}
    kept: dict[str, Run] = {}
    for metadata in _read_lines(folder / RUNS):
        name = metadata.pop(RUN, None)
        if not isinstance(name, str) or not describes_run(metadata):
            raise ValueError(f"{folder / RUNS} holds a line that describes no run")
        kept[name] = Run(Path(name), metadata, [])
    for row in _read_lines(folder / RECORDS):
        name = row.pop(RUN, None)
        if name not in kept:
            raise ValueError(f"{folder / RECORDS} has records of {name!r}, {RUNS} no such run")
        kept[name].records.append(from_json(row) if None in row.values() else row)
    return kept


def save_kept(folder: Path, runs: Mapping[str, Run]) -> None:
    """Write the kept runs of an experiment, in the order of their names.

    Equal runs make equal bytes.

    Raises:
        OSError: if a file cannot be written.
    """
    ordered = sorted(runs.items())
    abouts = [json.dumps({RUN: name, **run.metadata}) + "\n" for name, run in ordered]
    records = [to_json(record, **{RUN: name}) for name, run in ordered for record in run.records]
    _write_lines(folder / RUNS, abouts)
    _write_lines(folder / RECORDS, records)


def keep_runs(planned: Sequence[PlannedRun], all_runs: Path, folder: Path) -> list[PlannedRun]:
    """Keep the runs that are complete, thinned, beside those that have been kept before.

    Args:
        planned: all runs of the experiment.
        all_runs: the folder for all runs.
        folder: the experiment's.

    Returns those that have been kept now.

    Raises:
        OSError: if a file cannot be read or written.
        ValueError: if a run is damaged.
    """
    kept, added = load_kept(folder), []
    for plan in tqdm(planned, "keeping", delay=2, disable=None, leave=False, unit=" runs"):
        source = all_runs / plan.composed().folder
        if is_complete(source):
            kept[plan.name] = thin_run(read_run(source), MAX_RECORD_BYTES // len(planned))
            added.append(plan)
    if added:
        save_kept(folder, kept)
    return added


def is_complete(run: Path) -> bool:
    """Whether the run in a folder has finished or diverged, and so is one to keep.

    Raises:
        ConfigError: if it cannot be read.
    """
    metadata = read_metadata(run)
    if metadata is None:
        return False
    diverged = metadata["status"] == "failed" and metadata.get("traceback") is None
    return metadata["status"] == "finished" or diverged


def thin_run(run: Run, max_bytes: int) -> Run:
    """A run with at most so many bytes of records, or with those that cannot be left out."""
    records = thin_records(run.records, max_bytes)
    metadata = {**run.metadata, THINNED: {"of": len(run.records), "kept": len(records)}}
    if metadata["error"] is not None:  # which names files of the machine
        metadata["error"] = metadata["error"].replace(f"{run.folder.resolve()}{os.sep}", "")
    return Run(run.folder, metadata, records)


def thin_records(records: list[Record], max_bytes: int) -> list[Record]:
    """Every k-th record, the first and the last, and those with validation scores, rounded.

    k is the least power of two with which they take at most ``max_bytes`` as lines of JSON, where
    any is: so what is kept of one run is kept of its neighbour too, or half of it.
    """
    rounded = [{name: _round(value) for name, value in record.items()} for record in records]
    sizes = [len(to_json(record)) for record in rounded]
    needed = {0, len(records) - 1} | {
        k for k, r in enumerate(records) if any(name.startswith(VALIDATION) for name in r)
    }
    every = 1
    while True:
        chosen = [k for k in range(len(rounded)) if (k + 1) % every == 0 or k in needed]
        if every > len(rounded) or sum(sizes[k] for k in chosen) <= max_bytes:
            return [rounded[k] for k in chosen]
        every *= 2


def _round(value: float) -> float:
    if isinstance(value, int) or not math.isfinite(value):
        return value
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = gzip.decompress(path.read_bytes()).decode("utf-8")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return parse_lines(text, str(path))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    content = io.BytesIO()
    # not gzip.compress, whose header differs by the version of Python
    with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, content, mtime=0) as file:
        file.write("".join(lines).encode("utf-8"))
    atomic_files.write(path, content.getbuffer())
