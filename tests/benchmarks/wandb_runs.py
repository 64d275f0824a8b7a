"""Runs that log to W&B in processes of their own, and what W&B has of them in their folder."""

import json
import os
import subprocess
import sys

from tests import forked
from tests.benchmarks.commandline import CONF

# A run of some steps in a process of its own: folder, mode, what happens after them, seconds to
# wait for the server, FIRST-LAST ...
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from benchmarks.loggers import FailSafeLogger, RunIdentity, JsonlLogger, WandbLogger

folder, mode, event, patience, *stretches = sys.argv[1:]
for stretch in stretches:
    first, last = map(int, stretch.split("-"))
    path = Path(folder) / "metrics.jsonl"
    if path.exists():  # what came after the checkpoint goes
        path.write_text("".join(path.read_text().splitlines(True)[: first - 1]))
    identity = RunIdentity(Path(folder), "n", "g", "copy", (), {"name": "copy"}, {}, first - 1)
    patience = float(patience)
    make = lambda: WandbLogger(identity, project="p", mode=mode, timeout=patience)
    loggers = [FailSafeLogger("logger", make)]
    loggers += [JsonlLogger(path)]

    def write(*steps):
        for step in steps:
            for logger in loggers:
                logger.log_record({"step": step, "loss": first / step, "seconds": step})

    write(*range(first, last + 1))
    if event == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if event == "core killed":
        for stat in Path("/proc").glob("[0-9]*/stat"):
            name, _, rest = stat.read_text().partition(" (")[2].rpartition(") ")
            if name == "wandb-core" and rest.split()[1] == str(os.getpid()):
                os.kill(int(stat.parent.name), signal.SIGKILL)
        write(*range(last + 1, 500))
    for logger in loggers:
        logger.close({"status": "finished"}, {})
print("the training ended")
"""


def alone(**more):
    """The environment of a process that shares no service of W&B with this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return kept | {"PYTHONPATH": str(CONF.parent)} | more


def logs(folder, mode, event, *stretches, patience=30, **environment):
    given = (str(folder), mode, event, str(patience), *stretches)
    return forked.python(SCRIPT, *given, environment=alone(**environment))


def inspected(folder):
    """The rows of every W&B run in a folder, oldest first, as ``(type, content)``."""
    rows = []
    for run in sorted((folder / "wandb").glob("offline-run-*"), key=lambda p: p.stat().st_ctime):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        read = map(json.loads, done.stdout.splitlines())
        rows += [(row["type"], row[row["type"]]) for row in read]
    return rows


def of_type(rows, wanted):
    return [content for kind, content in rows if kind == wanted]
