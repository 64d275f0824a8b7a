"""The data of every task: the same bytes in any process, whatever the seed of Python's hashes."""

import os
import subprocess
import sys

from tests.benchmarks.commandline import CONF, TINY

CODE = """
import hashlib, sys, torch
torch.set_num_threads(1)
from benchmarks.assembly import make_settings, make_task
from benchmarks.cli import compose
from benchmarks.streams import stream
from tests.benchmarks.commandline import TINY

for name in TINY:
    cfg = compose(name, TINY[name])
    task = make_task(cfg)
    settings = make_settings(cfg, task)
    digest = hashlib.sha256()
    generator = stream(0, "training")
    batches = [task.training(settings.batch_size, step, generator) for step in range(5)]
    for split in ("validation", "test"):
        batches += task.held_out(split, settings.batch_size, 2)
    for batch in batches:
        for part in (batch.input, batch.target):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.numpy().tobytes())
    print(name, task.title, task.baseline, digest.hexdigest())
"""


def test_data_do_not_depend_on_the_seed_of_hashes():
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CODE],
            stdout=subprocess.PIPE,
            text=True,
            cwd=CONF.parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("0", "4321")
    ]
    printed = [process.communicate(timeout=500)[0] for process in processes]
    assert printed[0] == printed[1]
    assert [line.split()[0] for line in printed[0].splitlines()] == list(TINY)
    assert len({line.split()[-1] for line in printed[0].splitlines()}) == len(TINY)
